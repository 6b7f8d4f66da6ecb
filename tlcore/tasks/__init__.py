"""The tasks that work for any modality: classification, multi-label classification, regression."""
