# A character-level model of a small text, for a look on one GPU.

out_dir = "out-small-char"
eval_interval = 250  # overfitting comes early
log_interval = 10
wandb_log = False
wandb_run_name = "run" + "-1"

dataset = "small_char"
gradient_accumulation_steps = 5 * 8
batch_size = 12
block_size = 64

learning_rate = 1e-3  # a small network can bear it
max_iters = 300
lr_decay_iters = max_iters  # as is usual
min_lr = learning_rate / 10
beta2: float = 0.99

warmup_iters = 25
