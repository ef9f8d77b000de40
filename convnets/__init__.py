"""What the scripts share. The networks themselves stand in the scripts; a reader may skip this folder."""

import os

# TensorFlow's faster convolutions, those of Intel's oneDNN: by default it has them on newer processors only, but they
# pay on older ones, too (docs/overhead.md). TensorFlow reads this when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
