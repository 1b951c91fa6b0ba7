"""Instruction-tune a causal LM on many tasks, or one control model per task.

python train.py tasks=cluster:nli adapter=lora
"""

from taskdepth.cli import train

if __name__ == "__main__":
    train()
