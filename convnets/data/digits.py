"""digits: 1,797 handwritten digits that are part of scikit-learn, so they are always available.

Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998.
"""

import numpy as np

TITLE = "digits"
CLASS_NAMES = tuple("0123456789")
INPUT_SHAPE = (32, 32, 1)
FLIPPABLE = False
DOWNLOAD = None


def load(data_dir=None):
    """Enlarge the 8x8 images of 17 grey levels to 32x32, and set a fifth of each class aside as the test set."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype("uint8")
    images = pixels.repeat(4, axis=1).repeat(4, axis=2)[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target.astype("int64"), test_size=360, stratify=digits.target, random_state=1337
    )
    return (x_train, y_train, x_test, y_test), "scikit-learn"
