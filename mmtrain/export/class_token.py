"""CLIP towers in a form that llama.cpp computes correctly.

llama.cpp appends the class token to the patches, but then takes the rows from the second one on as
their features, as if the class token came first. The exported tower therefore gets an additional
first layer, which moves each token to the next row and the last one, the class token, to the first.

The attention of this layer is one-hot. Its queries and keys are the binary numbers of rows, which
are in additional channels of the embeddings. Its first norm is the tower's norm before the layers.
Its inputs are so small that they vanish in the sum with its outputs: their share is 2**-16, and
llama.cpp computes the embeddings of patches in 16 bits anyway.

The additional channels must not change the later layer norms. So the other channels are centered:
what is added to them has no mean. The additional channels come in pairs of opposite values, and
their sum of squares equals what epsilon would add in the norms.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmtrain.export.vit import Vit
from mmtui.errors import InputError
from mmtui.pipeline.assets.spec import VisionSpec

# Factors of pixels, of the embeddings that are computed from them, and of all outputs of layers.
# The last two make the embeddings small beside the outputs. All are within the range of fp16.
PIXEL_SCALE, _INPUT_SCALE, _OUTPUT_SCALE = 2.0**-4, 2.0**-9, 2.0**7
_EPSILON = 1e-30  # of the norms: nothing beside the squares of additional channels
_MIN_GAP = 20.0  # between the attention scores of a row and of others; exp(-20) is 2e-9
_MEAN_SCALE = 1 / 8  # of the mean of the centered channels, which is small beside their values
_PATCH_EMBEDDING = "vision_model.embeddings.patch_embedding.weight"
_POSITION_EMBEDDING = "vision_model.embeddings.position_embedding.weight"
_CLASS_EMBEDDING = "vision_model.embeddings.class_embedding"
_LAYERS = "vision_model.encoder.layers."


@dataclass(frozen=True)
class ShiftedVit:
    """A tower with additional channels, whose first layer moves the class token.

    Attributes:
        vit: The changed tower.
        width: The number of channels without the additional ones.
        mean: The first of two additional channels with the mean of the others.
    """

    vit: Vit
    width: int
    mean: int

    def widen(self, layer: nn.Linear) -> nn.Linear:
        """Return the first layer of a projector for features of this tower."""
        blocks = []
        for weight in torch.split(layer.weight, self.width, dim=1):
            block = _pad(weight, columns=self.vit.config.hidden_size)
            if not self.vit.final_norm:  # which is computed from centered channels
                mean = weight.sum(1) / (2 * _MEAN_SCALE)
                block[:, self.mean], block[:, self.mean + 1] = mean, -mean
                block /= _OUTPUT_SCALE
            blocks.append(block)
        weight = torch.cat(blocks, dim=1)
        widened = nn.Linear(weight.shape[1], len(weight), bias=layer.bias is not None)
        widened.weight = nn.Parameter(weight, requires_grad=False)
        if layer.bias is not None:
            widened.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        return widened


def shift_class_token(vit: Vit, spec: VisionSpec) -> ShiftedVit:
    """Change a tower with a class token so that llama.cpp computes it correctly.

    Args:
        vit: A CLIP tower, whose input is to be multiplied by PIXEL_SCALE.
        spec: How its input is normalized.

    Raises:
        InputError: Its attention heads are too narrow to number its patches.
    """
    ranges = zip(spec.mean, spec.std, strict=True)
    return _Shift(vit, max(max(mean, 1 - mean) / std for mean, std in ranges)).apply()


class _Shift:
    """The change of one tower."""

    def __init__(self, vit: Vit, largest_pixel: float) -> None:
        """Plan the additional channels.

        Args:
            vit: The tower.
            largest_pixel: The largest absolute value in its input.
        """
        config = vit.config
        self._vit, self._largest_pixel = vit, largest_pixel
        self._width: int = config.hidden_size
        self._head: int = config.hidden_size // config.num_attention_heads
        self._rows = len(vit.state[_POSITION_EMBEDDING])
        self._bits = (self._rows - 1).bit_length()
        if self._head <= self._bits:
            raise InputError(
                f"the attention heads of this CLIP tower have {self._head} channels, which are too"
                f" few to number {self._rows - 1} patches for llama.cpp"
            )
        # Pairs of channels: the bits of the row, those of the row before, a constant; then what
        # the epsilon of norms adds, and the mean.
        self._codes = 2 * self._bits + 1
        self._epsilon_channel = self._width + 2 * self._codes
        self._mean_channel = self._epsilon_channel + 2
        extra_heads = math.ceil(2 * (self._codes + 2) / self._head)
        if (config.num_attention_heads + extra_heads) * self._head == config.intermediate_size:
            extra_heads += 1  # llama.cpp would swap the two layers of an MLP
        self._heads: int = config.num_attention_heads + extra_heads
        self._full = self._heads * self._head
        # Norms divide by the root of the mean square over all channels.
        self._norm_scale = math.sqrt(self._width / self._full)
        self._epsilon_squares: float = config.layer_norm_eps * self._width

    def apply(self) -> ShiftedVit:
        """Return the changed tower."""
        config = self._vit.config
        state = self._make_embeddings() | self._make_first_layer()
        for name, tensor in self._vit.state.items():
            if name.startswith(_LAYERS):
                number, _, rest = name.removeprefix(_LAYERS).partition(".")
                state[f"{_LAYERS}{int(number) + 1}.{rest}"] = self._widen(rest, tensor)
            elif "post_layernorm" in name:
                state[name] = self._widen(name, tensor)
        depth = config.num_hidden_layers
        layers = tuple(layer + 1 if layer >= 0 else layer for layer in self._vit.layers)
        changed = {
            "hidden_size": self._full,
            "num_attention_heads": self._heads,
            "num_hidden_layers": depth + 1,
            "layer_norm_eps": _EPSILON,
        }
        wide = type(config).from_dict(config.to_dict() | changed)
        vit = replace(self._vit, config=wide, state=state, layers=layers)
        return ShiftedVit(vit, self._width, self._mean_channel)

    def _make_embeddings(self) -> dict[str, Tensor]:
        """Return small embeddings, with the numbers of rows in additional channels."""
        state = self._vit.state
        patch = _center(state[_PATCH_EMBEDDING])
        position = _center(state[_POSITION_EMBEDDING].T).T.roll(-1, 0)  # the class token is last
        position = _pad(position, columns=self._full)
        rows = torch.arange(self._rows)
        bits = 2 ** torch.arange(self._bits)
        codes = [((number[:, None] & bits) > 0) * 2.0 - 1 for number in (rows, rows.roll(1))]
        values = torch.cat([*codes, torch.ones(self._rows, 1)], dim=1) * self._code_size
        position[:, self._width : self._epsilon_channel : 2] = values
        position[:, self._width + 1 : self._epsilon_channel : 2] = -values
        class_token = _center(state[_CLASS_EMBEDDING][:, None])[:, 0]
        embeddings = {
            _PATCH_EMBEDDING: _pad(patch.flatten(1), rows=self._full).reshape(-1, *patch.shape[1:]),
            _POSITION_EMBEDDING: position,
            _CLASS_EMBEDDING: nn.functional.pad(class_token, (0, self._full - self._width)),
        }
        scaled = {name: tensor * _INPUT_SCALE for name, tensor in embeddings.items()}
        scaled[_PATCH_EMBEDDING] /= PIXEL_SCALE
        return scaled

    @property
    def _code_size(self) -> float:
        """The absolute value of the additional channels, unscaled."""
        return math.sqrt(self._epsilon_squares / (2 * self._codes))

    def _make_first_layer(self) -> dict[str, Tensor]:
        """Return the layer that moves each token to the next row."""
        state, inner = self._vit.state, self._vit.config.intermediate_size
        norm = {
            leaf: self._widen(f"layer_norm1.{leaf}", state[f"vision_model.pre_layrnorm.{leaf}"])
            for leaf in ("weight", "bias")
        }
        # After the norm, the codes of the largest embedding are 1, and others are larger.
        largest = math.sqrt(self._bound_embeddings() ** 2 + self._epsilon_squares)
        scale = largest / math.sqrt(self._full) / self._code_size
        norm["weight"][self._width : self._epsilon_channel] = scale
        zeros = torch.zeros(self._full)
        query, key = self._make_queries_and_keys()
        value = torch.zeros(self._full, self._full)
        value[range(self._width), range(self._width)] = 1
        output_bias, epsilon = torch.zeros(self._full), math.sqrt(self._epsilon_squares / 2)
        output_bias[self._epsilon_channel] = _OUTPUT_SCALE * epsilon
        output_bias[self._epsilon_channel + 1] = -_OUTPUT_SCALE * epsilon
        layer = {
            "layer_norm1.weight": norm["weight"],
            "layer_norm1.bias": norm["bias"],
            "layer_norm2.weight": torch.ones(self._full),
            "layer_norm2.bias": zeros,
            "self_attn.q_proj.weight": query,
            "self_attn.q_proj.bias": zeros,
            "self_attn.k_proj.weight": key,
            "self_attn.k_proj.bias": zeros,
            "self_attn.v_proj.weight": value,
            "self_attn.v_proj.bias": zeros,
            "self_attn.out_proj.weight": self._widen("out_proj.weight", torch.eye(self._width)),
            "self_attn.out_proj.bias": output_bias,
            "mlp.fc1.weight": torch.zeros(inner, self._full),
            "mlp.fc1.bias": torch.zeros(inner),
            "mlp.fc2.weight": torch.zeros(self._full, inner),
            "mlp.fc2.bias": zeros,
        }
        return {f"{_LAYERS}0.{name}": tensor for name, tensor in layer.items()}

    def _make_queries_and_keys(self) -> tuple[Tensor, Tensor]:
        """Return weights with which a row has positive scores with the one before it alone.

        For a code of B bits that are 1 or -1, the product with itself is B, and that with others
        B - 2 or less. The constant subtracts B - 1.
        """
        query, key = torch.zeros(2, self._full, self._full)
        gain = math.sqrt(_MIN_GAP / 2 * math.sqrt(self._head))
        constant = self._width + 2 * (self._codes - 1)
        threshold = math.sqrt(self._bits - 1)
        for first in range(0, self._full, self._head):
            for bit in range(self._bits):
                row, column = first + bit, self._width + 2 * bit
                key[row, column], key[row, column + 1] = gain / 2, -gain / 2
                column += 2 * self._bits
                query[row, column], query[row, column + 1] = gain / 2, -gain / 2
            row = first + self._bits
            key[row, constant], query[row, constant] = gain * threshold, -gain * threshold
        return query, key

    def _bound_embeddings(self) -> float:
        """Return an upper bound of the norm of the centered embeddings."""
        state = self._vit.state
        patch = _center(state[_PATCH_EMBEDDING]).flatten(1)
        pixels = self._largest_pixel * math.sqrt(patch.shape[1])
        position = _center(state[_POSITION_EMBEDDING].T).T
        class_token = float((state[_CLASS_EMBEDDING] - state[_CLASS_EMBEDDING].mean()).norm())
        largest = max(float(torch.linalg.matrix_norm(patch, 2)) * pixels, class_token)
        return largest + float(position.norm(dim=1).max())

    def _widen(self, name: str, tensor: Tensor) -> Tensor:
        """Return a tensor of the tower for the additional channels, which have no effect."""
        full = self._full
        if "norm" in name:
            scaled = tensor * self._norm_scale if name.endswith("weight") else tensor
            return nn.functional.pad(scaled, (0, full - self._width))
        if "out_proj" in name or "fc2" in name:
            if tensor.ndim == 1:
                return self._widen_output(tensor[:, None])[:, 0]
            columns = full if "out_proj" in name else tensor.shape[1]
            return _pad(self._widen_output(tensor), columns=columns)
        if "fc1" in name:
            return tensor if tensor.ndim == 1 else _pad(tensor, columns=full)
        if tensor.ndim == 1:
            return nn.functional.pad(tensor, (0, full - self._width))
        return _pad(tensor, rows=full, columns=full)

    def _widen_output(self, weight: Tensor) -> Tensor:
        """Return the rows of what is added to the channels, centered, and of its mean."""
        widened = _pad(_center(weight), rows=self._full)
        mean = weight.mean(0) * _MEAN_SCALE
        widened[self._mean_channel], widened[self._mean_channel + 1] = mean, -mean
        return widened * _OUTPUT_SCALE


def _center(weight: Tensor) -> Tensor:
    """Subtract the mean over the output channels, which come first."""
    return weight - weight.mean(0, keepdim=True)


def _pad(weight: Tensor, rows: int = 0, columns: int = 0) -> Tensor:
    """Return a matrix with zeros appended up to these numbers of rows and columns."""
    bottom, right = max(rows - weight.shape[0], 0), max(columns - weight.shape[1], 0)
    return nn.functional.pad(weight, (0, right, 0, bottom))
