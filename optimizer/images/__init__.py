"""Image classifiers: backbones, augmentation, training, evaluation and what they cost."""
