"""What the scripts share. The networks themselves stand in the scripts; a reader may skip this folder."""

import os
import platform

# On Linux, TensorFlow by default uses oneDNN only on processors with special instructions for neural networks, but it
# is faster on others, too (docs/overhead.md). TensorFlow reads this variable when it is imported.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
