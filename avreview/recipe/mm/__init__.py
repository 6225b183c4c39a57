"""The OpenMMLab family (mmdetection, mmdetection3d and what is built on them): configurations to `Recipe`."""
