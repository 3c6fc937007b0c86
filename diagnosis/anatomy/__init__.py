"""The semi-supervised anatomy stage, which writes organ masks for a cohort."""
