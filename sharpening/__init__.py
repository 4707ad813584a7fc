"""Does reinforcement learning sharpen a language model, and can it be prevented?"""

__version__ = "0.1.0"
