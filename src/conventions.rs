//! Coming from ONNX, PyTorch, TensorFlow Lite or ggml: which call stands for an operator, and whether it has the same bits.
//! (This module is documentation only.)
//!
//! *Same* is tested with equality, on every ISA, by what these programs computed: onnx 1.23 (all cases of its conformance suite for
//! the operators below), onnxruntime 1.32, PyTorch 2.15 and LiteRT 2.3, on x86-64. Where the bits differ, the tests have every
//! difference of their cases, its place and its size: one that is missing or new fails them. The last column is the file of
//! `tests/suite/`.
//!
//! Scales and zero points of any of these programs enter as they are, by [`QuantParams::from_onnx`](crate::QuantParams::from_onnx);
//! those of other conventions by the constructors in the table of [`calibrate`](crate::calibrate). Images are channels-last.
//!
//! # ONNX and onnxruntime
//!
//! | operator | here | bits | test |
//! |---|---|---|---|
//! | `QuantizeLinear` to integers of 16, 8, 4 and 2 bits, per tensor, axis or block, of f32 or f16 | [`quantize`](crate::quantize()), into [`PackedCodesMut`](crate::PackedCodesMut) for 4 and 2 bits | same, but for NaN: Z here, in onnxruntime the smallest code | `oracles`, `golden` |
//! | `QuantizeLinear` and `Cast` to `float8e4m3fn` and `float8e5m2` | [`fp8::encode`](crate::fp8::encode), for `saturate=0` [`without_saturation`](crate::fp8::Fp8Params::without_saturation) | same | `oracles`, `fp8` |
//! | `DequantizeLinear` of all these, to f32 or f16 | [`dequantize`](crate::dequantize()), [`fp8::decode`](crate::fp8::decode) | same | `oracles`, `golden` |
//! | `DynamicQuantizeLinear` | [`min_max`](crate::min_max()), [`QuantParams::as_onnx`](crate::QuantParams::as_onnx), [`quantize`](crate::quantize()) | same. (By [`QuantParams::fit`](crate::QuantParams::fit), in f64, the last bits of S and a tie of Z may differ.) | `oracles`, `conventions` |
//! | `MatMulInteger` | [`matmul`](crate::matmul()) with [`Accumulators`](crate::Accumulators); of more than two dimensions, [`matmul_batch`](crate::matmul_batch) | same. On AVX2 without VNNI, onnxruntime's sums of two products u8 · i8 saturate at 16 bits; none does here | `oracles` |
//! | `ConvInteger` | [`Conv2d`](crate::layers::Conv2d) with [`Accumulators`](crate::Accumulators) | same | `oracles` |
//! | `QLinearMatMul`, `QLinearConv` | [`matmul`](crate::matmul()), [`Conv2d`](crate::layers::Conv2d) with [`Requantize::onnxruntime`](crate::Requantize::onnxruntime) | same. (Multipliers of [`Requantize::new`](crate::Requantize::new) are rounded once: a few codes in a million are the next ones.) | `oracles`, `golden` |
//! | `MatMulIntegerToFloat`, `DynamicQuantizeMatMul` | [`matmul`](crate::matmul()) with [`Dequantize::with_bias`](crate::Dequantize::with_bias) | same | `oracles` |
//! | `MatMulNBits` | [`StoredWeights::matmul_nbits`](crate::groups::StoredWeights::matmul_nbits), [`groups::matmul`](crate::groups::matmul()) | the weights are the same. Activations are quantized here, as there with `accuracy_level=4`: that is [`in_groups`](crate::groups::Activations::in_groups), but for the order in which f32 are summed. Same where every sum is exact | `oracles`, `groups` |
//! | `QLinearAdd` | [`rescale::add`](crate::rescale::add) | a few pairs of codes in a million differ by 1: ratios of scales there, dequantized values here | `oracles` |
//! | `QLinearGlobalAveragePool`, `QLinearAveragePool` | [`AvgPool2d`](crate::layers::AvgPool2d) | same; under a window, ties differ by 1 where Z is odd, since it is added before rounding there | `golden` |
//! | `ConvTranspose` | [`ConvTranspose2d`](crate::layers::ConvTranspose2d) | its sums, of integers | `golden` |
//!
//! Not here: `float4e2m1` with a scale per tensor or axis ([`formats`](crate::formats) has it in blocks, MXFP4 and NVFP4), and the
//! FNUZ variants of FP8.
//!
//! # PyTorch
//!
//! | operator | here | bits | test |
//! |---|---|---|---|
//! | `quantize_per_tensor`, `quantize_per_channel` | [`quantize`](crate::quantize()) | `x · (1 / S)` is rounded there, `x / S` here: at ties and their neighbours, the next code. Same bits by [the lines below](#the-codes-of-pytorch). NaN is Z here; there the largest code per tensor, the smallest per channel | `oracles` |
//! | `dequantize` | [`dequantize`](crate::dequantize()) | same | `oracles` |
//! | `fake_quantize_per_tensor_affine`, `fake_quantize_per_channel_affine`, with their mask | [`fake_quantize`](crate::fake_quantize()), with a mask | as the codes; the mask differs where they cross the end of the range. NaN is 0 here, the smallest value there; per channel, so is +∞ and what is beyond 64-bit integers | `oracles` |
//! | `quantized::linear` (fbgemm, onednn, qnnpack) | [`matmul`](crate::matmul()) with [`Requantize::onnxruntime`](crate::Requantize::onnxruntime) | same. A bias is real there, rounded to the unit of the accumulators here: the next code at most, where the multiplier is below 1 | `oracles` |
//! | `MinMaxObserver`, affine | [`MinMax`](crate::calibrate::MinMax), [`QuantParams::as_onnx`](crate::QuantParams::as_onnx) | same, where `quant_min` is even and S above `eps` | `conventions` |
//! | `MinMaxObserver`, symmetric quint8 | [`Scheme::MIDDLE`](crate::Scheme::MIDDLE) | same | `conventions` |
//! | `MovingAverageMinMaxObserver` | [`Ema::from_first_batch`](crate::calibrate::Ema::from_first_batch) | same | `conventions` |
//! | `_fake_quantize_learnable_per_channel_affine`, LSQ's gradients | [`fake_quantize_gradients`](crate::training::fake_quantize_gradients) | same, but at ties where Z is odd | `training` |
//!
//! Other observers are in the table of [`calibrate`](crate::calibrate).
//!
//! # TensorFlow Lite
//!
//! | operator | here | bits | test |
//! |---|---|---|---|
//! | `QUANTIZE` | [`quantize`](crate::quantize()) | XNNPACK: as PyTorch's, with [the lines below](#the-codes-of-pytorch). Reference kernel: ties away from zero there, to even here. Built-in kernel: as PyTorch's, but for up to seven elements at the end, which have another formula. NaN is Z here; XNNPACK makes it the largest code, the other kernels make it and +∞ the smallest | `oracles` |
//! | `DEQUANTIZE` | [`dequantize`](crate::dequantize()) | XNNPACK and reference kernel: same. Built-in kernel: `S · q − S · Z` with two roundings there, the last bits | `oracles` |
//! | `CONV_2D`, `DEPTHWISE_CONV_2D`, `FULLY_CONNECTED` | [`Conv2d`](crate::layers::Conv2d), [`Linear`](crate::layers::Linear) | that of the kernel's rule, in the table of [`Rule`](crate::Rule) | `golden` |
//! | the same of int16 by int8 | [`int16x8`](crate::int16x8) | same, by the [rule](crate::int16x8::Rule) of each | `int16x8` |
//!
//! # ggml, GPTQ, AWQ and OCP MX
//!
//! | there | here | bits | test |
//! |---|---|---|---|
//! | `ggml_quantize_chunk` to Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q4_K, Q5_K and Q6_K | [`encode_blocks`](crate::formats::encode_blocks) | the bytes of ggml's scalar code | `formats` |
//! | the values of these, of MXFP4 and of NVFP4, as `gguf` reads them | [`decode_blocks`](crate::formats::decode_blocks), [`StoredWeights::from_format`](crate::groups::StoredWeights::from_format) | same | `groups` |
//! | MXFP4 by OCP's rule, and NVFP4 by its published recipe, with the types of `ml_dtypes` | [`encode_blocks`](crate::formats::encode_blocks) | same. ggml's own encoder takes the other neighbour at some ties | `formats` |
//! | products of Q4_0 and Q8_0 | [`groups::matmul`](crate::groups::matmul()) | one rounding less: `(acc · S_w) · S_a` in ggml, `acc · (S_a · S_w)` here | `golden` |
//! | GPTQ and AWQ, int32 words of eight codes | [`StoredWeights::gptq`](crate::groups::StoredWeights::gptq), [`awq`](crate::groups::StoredWeights::awq) | by their formulas, and back | `groups` |
//! | `float8_e4m3fn`, `float8_e5m2` of `ml_dtypes`, which do not saturate | [`without_saturation`](crate::fp8::Fp8Params::without_saturation) | same, but for the sign of NaN | `fp8` |
//!
//! # The codes of PyTorch
//!
//! PyTorch and XNNPACK multiply by the rounded reciprocal of the scale. To have their codes, multiply first, and quantize by a scale
//! of 1: the quotient is then the product itself.
//!
//! ```
//! use zeropoint::{CodeRange, Exec, QuantParams, Rounding, quantize};
//! let (exec, scale, x) = (Exec::best()?, 0.3_f32, [2.25_f32, 0.7]);
//! let ours = QuantParams::per_tensor(CodeRange::signed(8)?, scale, 0)?;
//! let theirs = QuantParams::per_tensor(CodeRange::signed(8)?, 1.0, 0)?;
//! let (mut codes, mut torch) = ([0_i8; 2], [0_i8; 2]);
//! quantize(exec, &x, &ours, Rounding::Nearest, &mut codes)?;
//! quantize(exec, &x.map(|x| x * (1.0 / scale)), &theirs, Rounding::Nearest, &mut torch)?;
//! assert_eq!((codes, torch), ([7, 2], [8, 2]));
//! # Ok::<(), zeropoint::Error>(())
//! ```
