"""Small files of PyTorch's answers, for machines without PyTorch."""
