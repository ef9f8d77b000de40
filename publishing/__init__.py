import convnets  # noqa: F401  first, since it sets what TensorFlow reads when it is imported
