"""Pretraining: a thin loop around the losses. The loop is :func:`ecgloss.train.pretrain.pretrain`."""
