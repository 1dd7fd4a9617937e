//! Training: patches, augmentation, trainer.
