"""The published systems, one file each: Anatomy-XNet, MS-ANet, MSAIMNet, DualAttNet."""
