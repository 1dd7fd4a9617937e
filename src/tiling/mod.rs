//! Cutting a volume into overlapping patches and fusing the patches predictions.
