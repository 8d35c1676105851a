"""What the cutter knows of ONNX operators: which compute, and which only rewrite a tensor."""

# Each value of the output comes from the values at the same place, or along one axis (softmax).
ELEMENTWISE = frozenset({
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BiasGelu",
    "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike",
    "Ceil", "Celu", "Clip", "Cos", "Cosh", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp",
    "FastGelu", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Hardmax", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log",
    "LogSoftmax", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu",
    "Pow", "QuantizeLinear", "QuickGelu", "Reciprocal", "Relu", "Round", "Selu", "Shrink",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Sub", "Sum",
    "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
})  # fmt: skip
NORMALISATION = frozenset({
    "BatchNormalization", "FusedBatchNormalization", "GroupNormalization",
    "InstanceNormalization", "LayerNormalization", "LpNormalization",
    "MeanVarianceNormalization", "SimplifiedLayerNormalization", "RMSNormalization",
})  # fmt: skip
# The same values in another shape or order.
SHAPE_ONLY = frozenset({
    "DepthToSpace", "Flatten", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
IN_PLACE = ELEMENTWISE | NORMALISATION | SHAPE_ONLY
FOLLOWERS = IN_PLACE | {"Concat"}
# Open what follows rather than closing what came before, and enlarge what crosses.
LEADERS = frozenset({"DequantizeLinear", "Pad"})
CROPPING = frozenset({"Pad", "Slice"})
# Multiply by weights, so that what follows fuses into them.
WEIGHTED = frozenset({
    "Attention", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "FusedConv",
    "FusedGemm", "FusedMatMul", "GRU", "Gemm", "LSTM", "MatMul", "MatMulInteger",
    "MultiHeadAttention", "QGemm", "QLinearConv", "QLinearMatMul", "RNN",
})  # fmt: skip
# The size of the output depends on values; that of SELECTING does where their input's does.
VALUE_SIZED = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
SELECTING = frozenset({
    "Gather", "GatherElements", "GatherND", "Pad", "ScatterElements", "ScatterND", "Slice",
})  # fmt: skip
