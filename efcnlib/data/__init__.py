"""Images on the device: splits, orders, augmentation."""
