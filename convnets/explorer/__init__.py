"""The views, live in a browser. Each module is named after what it shows; all numbers come from `convnets.views`."""
