"""A cut-down training script of nanoGPT's shape, from the time when warm-up began at 0."""

import math
import os

learning_rate = 6e-4
max_iters = 60
decay_lr = True
warmup_iters = 10
lr_decay_iters = 50
min_lr = 6e-5
batch_size = 12
gradient_accumulation_steps = 5 * 8
config_keys = [k for k, v in globals().items() if not k.startswith("_")]

ddp = int(os.environ.get("RANK", -1)) != -1
if ddp:
    gradient_accumulation_steps //= 4


def get_lr(it):
    # linear warm-up
    if it < warmup_iters:
        return learning_rate * it / warmup_iters
    if it > lr_decay_iters:
        return min_lr
    decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    assert 0 <= decay_ratio <= 1
    coeff = 0.5 * (1.0 + math.cos(math.pi * decay_ratio))
    return min_lr + coeff * (learning_rate - min_lr)


iter_num = 0
while True:
    lr = get_lr(iter_num) if decay_lr else learning_rate
    iter_num += 1
    if iter_num > max_iters:
        break
