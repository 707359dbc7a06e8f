"""Trains the models of mmtui: pretrain, align, finetune."""
