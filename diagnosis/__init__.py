"""gazedx, what it is: networks, their tasks, published systems, diagnosis metrics."""

GAZEDX_VERSION = "0.1.0"
