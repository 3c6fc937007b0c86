"""gazedx, contrastive learning of an encoder."""

GAZEDX_VERSION = "0.1.0"
