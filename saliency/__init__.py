"""gazedx, where to look: encoders, attention modules, decoder, saliency losses and metrics."""

GAZEDX_VERSION = "0.1.0"
