"""Pretended devices: all tensors lie on the CPU, but those said to be elsewhere do not mix, as on a machine of several.

What torch calls a device is answered by what was said; an operation on tensors of two devices is refused.
"""

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import send_to_device
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

HOST = torch.device("cpu")  # where tensors are made that nobody placed
A, B, C, TOWER = (torch.device("cpu", index) for index in range(4))


def place(tensor, device):
    tensor.pretended = device
    return tensor


def place_of(tensor):
    return getattr(tensor, "pretended", HOST)


def tensors(*values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class Devices(TorchFunctionMode):
    """Within it, tensors are where they were placed, or where what they were made of was."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function == torch.Tensor.device.__get__:  # a new object each time
            return place_of(args[0])
        if function is torch.Tensor.to:
            return self._moved(*args, **kwargs)
        to = kwargs.pop("device", None)
        numbers, found = ({place_of(x) for x in tensors(args, kwargs) if bool(x.dim()) == d} for d in (False, True))
        if function == torch.Tensor.__getitem__ and len(found) > 1:
            found -= {HOST}  # torch takes such columns anywhere
        if len(found) > 1:
            raise RuntimeError(f"{function.__name__}: tensors on {sorted(map(str, found))}")
        made = torch.device(to) if to is not None else max(found or numbers, key=str, default=HOST)
        result = function(*args, **kwargs)
        for each in tensors(result):
            place(each, made)
        return result

    def _moved(self, x, *args, **kwargs):
        kwargs = {name: value for name, value in kwargs.items() if name in ("device", "dtype")}
        to, dtype = kwargs.get("device"), kwargs.get("dtype")
        for value in args:
            if isinstance(value, torch.Tensor):
                to, dtype = place_of(value), value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (torch.device, str)):
                to = value
        to = place_of(x) if to is None else torch.device(to)
        moved = x.to(dtype) if dtype is not None else x
        return place(moved.clone() if moved is x and to != place_of(x) else moved, to)


class Move(ModelHook):
    """As accelerate's own hook: what a module is called with goes to the module's device."""

    def __init__(self, device, back=False):
        self.device, self.back = device, back

    def pre_forward(self, module, *args, **kwargs):
        return send_to_device(args, self.device), send_to_device(kwargs, self.device, skip_keys="past_key_values")

    def post_forward(self, module, output):
        return send_to_device(output, A, skip_keys="past_key_values") if self.back else output


def spread(model, devices):
    """Place modules, by the start of their names; all others, and what the model returns, on A."""
    for name, module in model.named_modules():
        device = next((where for start, where in devices.items() if name.startswith(start)), A)
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            place(tensor, device)
        if name in devices or module.state_dict() and (name == "" or device is not A or not list(module.children())):
            add_hook_to_module(module, Move(device, back=name == ""))
    return model


def inputs(data):
    """On A, as those of a user."""
    return {name: place(tensor, A) for name, tensor in data.inputs.items()}
