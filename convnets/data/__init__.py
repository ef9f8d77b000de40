"""Find, check, load and augment images. Each dataset is a module of this package; `datasets` loads them by name."""

# To add a dataset, write its module (`datasets` says what it must hold) and add the module's name here.
# This file imports nothing, so that the command line's options can list the names without loading NumPy.
DATASETS = ("cifar10", "mnist", "digits")
