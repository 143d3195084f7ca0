"""Records training.json: the gradients of PyTorch's fake-quantization with learned scales and zero points.

    pip install torch && python training.py > training.json

Every element is a row and a channel of its own, so that PyTorch gives the share of each in the gradients. x, scale, zero point and gradient
are exact in f32; products with the reciprocal of the scale, a power of two, are as exact as quotients.
"""

import json

import torch

LOW, HIGH = -8, 7
SCALES, ZERO_POINTS, GRADIENT = [0.5, 0.25], [0, 3, -8], 1.25

x = torch.tensor([i / 16 - 5 for i in range(161)] + [1000.0, -1000.0], dtype=torch.float32).reshape(-1, 1)
cases = []
for scale in SCALES:
    for zero_point in ZERO_POINTS:
        inputs = [x.clone(), torch.full((len(x),), scale), torch.full((len(x),), float(zero_point))]
        for value in inputs:
            value.requires_grad_()
        y = torch._fake_quantize_learnable_per_channel_affine(*inputs, 0, LOW, HIGH, 1.0)
        y.backward(torch.full_like(x, GRADIENT))
        of_x, of_scale, of_zero_point = (value.grad.flatten().tolist() for value in inputs)
        cases.append({"scale": scale, "zero_point": zero_point, "y": y.flatten().tolist(), "of_x": of_x, "of_scale": of_scale,
                      "of_zero_point": of_zero_point})
print(json.dumps({"torch": torch.__version__, "codes": [LOW, HIGH], "gradient": GRADIENT, "x": x.flatten().tolist(), "cases": cases}))
