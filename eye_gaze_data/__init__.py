"""gazedx, what was seen: images, labels, gaze, cohorts, splits and the batch."""

GAZEDX_VERSION = "0.1.0"
