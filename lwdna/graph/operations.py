"""The layers and operations of PyTorch, sorted by what they do to channels."""

from __future__ import annotations

from torch import nn

CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.LogSigmoid,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Softplus,
    nn.Softsign,
    nn.Softshrink,
    nn.Hardshrink,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Threshold,
)
ELEMENTWISE_MODULES = (
    *ACTIVATIONS,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
SPATIAL_MODULES = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.LPPool1d,
    nn.LPPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.Upsample,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.ZeroPad3d,
    nn.ConstantPad1d,
    nn.ConstantPad2d,
    nn.ConstantPad3d,
    nn.ReflectionPad1d,
    nn.ReflectionPad2d,
    nn.ReflectionPad3d,
    nn.ReplicationPad1d,
    nn.ReplicationPad2d,
    nn.ReplicationPad3d,
    nn.CircularPad1d,
    nn.CircularPad2d,
    nn.CircularPad3d,
    nn.FractionalMaxPool2d,
    nn.FractionalMaxPool3d,
    nn.MaxUnpool1d,
    nn.MaxUnpool2d,
    nn.MaxUnpool3d,
)
SHUFFLING_MODULES = (nn.PixelShuffle, nn.PixelUnshuffle)

# Functions and tensor methods, by name: `torch.relu`, `F.relu`, `x.relu()` and `x.relu_()` alike.
ELEMENTWISE = frozenset(
    "add sub rsub mul multiply div divide true_divide truediv floordiv mod fmod remainder maximum "
    "minimum pow square sqrt rsqrt reciprocal neg pos abs exp expm1 log log1p sin cos erf sign "
    "round floor ceil clamp clip clamp_min clamp_max where lerp addcmul addcdiv masked_fill eq ne "
    "gt lt ge le relu relu6 leaky_relu rrelu elu celu selu gelu silu mish sigmoid logsigmoid tanh "
    "tanhshrink softplus softsign softshrink hardshrink hardtanh hardsigmoid hardswish threshold "
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout "
    "stochastic_depth contiguous clone float half double bfloat16 detach "
    "bernoulli fill zero uniform normal copy tan asin acos atan atan2 sinh cosh asinh acosh atanh "
    "erfc log2 log10 exp2 frac trunc nan_to_num isnan isinf isfinite hypot copysign xlogy sinc "
    "float_power logical_and logical_or logical_not logical_xor bool int long cpu cuda "
    "requires_grad".split()
)
CONVERTING = frozenset("to type_as type".split())
LIKE = frozenset(
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like".split()
)
CREATING = frozenset(
    "new_empty new_zeros new_ones new_full empty zeros ones full rand randn randint".split()
)
COUNTING = frozenset("arange linspace logspace eye randperm tril_indices triu_indices".split())
SPATIAL = frozenset(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d interpolate upsample boolean_dispatch max_unpool1d "
    "max_unpool2d max_unpool3d grid_sample fractional_max_pool2d fractional_max_pool3d".split()
)
REARRANGING = frozenset(
    "permute transpose swapaxes swapdims movedim moveaxis squeeze unsqueeze repeat_interleave "
    "flip t".split()
)
REPEATING = frozenset("expand expand_as broadcast_to repeat tile".split())
RESHAPING = frozenset("view reshape view_as reshape_as flatten ravel unflatten".split())
TAKING = frozenset("chunk split split_with_sizes tensor_split unbind getitem select narrow".split())
CONCATENATING = frozenset("cat concat concatenate".split())
SHUFFLING = frozenset("pixel_shuffle pixel_unshuffle".split())
REDUCING = frozenset("mean sum prod amax amin var std norm logsumexp median argmax argmin".split())
MIXING = frozenset("softmax log_softmax normalize cumsum".split())
MULTIPLYING = frozenset(
    "matmul mm bmm mv dot addmm addbmm baddbmm einsum tensordot bilinear chain_matmul cdist "
    "scaled_dot_product_attention deform_conv2d multi_head_attention_forward lstm gru rnn_tanh "
    "rnn_relu".split()
)
"""Functions that multiply matrices, which the FLOPs convention does not count."""
FUNCTIONAL_LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv1d": (nn.Conv1d,),
    "conv2d": (nn.Conv2d,),
    "conv3d": (nn.Conv3d,),
    "conv_transpose1d": (nn.ConvTranspose1d,),
    "conv_transpose2d": (nn.ConvTranspose2d,),
    "conv_transpose3d": (nn.ConvTranspose3d,),
    "linear": (nn.Linear,),
    "batch_norm": BATCH_NORMS,
    "instance_norm": INSTANCE_NORMS,
    "layer_norm": (nn.LayerNorm,),
    "group_norm": (nn.GroupNorm,),
    "prelu": (nn.PReLU,),
}
"""Functions that do what a layer does, with the layers whose parameters they may be given."""
