"""``load_url``, PyTorch's older name of :func:`gpunn.hub.load_state_dict_from_url`."""

from gpunn.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
