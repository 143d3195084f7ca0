/* The rest of the grid through the C interface: weights in groups, block formats, FP8, error reports, pooling, stages by hand. Each
 * operation is checked against another way to the same numbers. */
#include <math.h>

#include "check.h"

static const zp_granularity TENSOR = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};
static const zp_rounding NEAREST = {ZP_ROUNDING_KIND_NEAREST, 0, 0};
static const zp_codes U8 = {ZP_TYPE_U8, 0, 255};
static const zp_activation NO_ACTIVATION = {ZP_ACTIVATION_KIND_NONE, 0, 0};
static const zp_view NOTHING = {ZP_TYPE_U8, NULL, 0, 0, 0};

static zp_view view(zp_type type, const void *data, size_t rows, size_t columns)
{
    zp_view view = {type, NULL, 0, 0, 0};
    view.data = data, view.rows = rows, view.columns = columns;
    return view;
}

static zp_view_mut view_mut(zp_type type, void *data, size_t rows, size_t columns)
{
    zp_view_mut view = {type, NULL, 0, 0, 0};
    view.data = data, view.rows = rows, view.columns = columns;
    return view;
}

static void fill(float *x, size_t count, float step)
{
    size_t i;
    for (i = 0; i < count; ++i) x[i] = sinf(step * (float)i);
}

static zp_params *params_of(zp_codes codes, float scale, int32_t zero_point)
{
    zp_params *params = NULL;
    OK(zp_params_new(codes, TENSOR, &scale, &zero_point, 1, &params, &message));
    return params;
}

enum { ROWS = 3, DEPTH = 128, OUTPUTS = 20, GROUP = 32, GROUPS = DEPTH / GROUP };

/* Weights in groups: the product is near that of the stored values, a row does not depend on the others, and the ways in and out agree. */
static void groups(zp_exec exec)
{
    float x[ROWS * DEPTH], w[OUTPUTS * DEPTH], values[OUTPUTS * DEPTH], y[ROWS * OUTPUTS], row[OUTPUTS], bias[OUTPUTS];
    uint16_t halves[ROWS * OUTPUTS];
    uint8_t codes[ROWS * OUTPUTS], expected[ROWS * OUTPUTS];
    const zp_group_scheme schemes[3] = {{4, GROUP, false, false, true}, {3, GROUP, true, true, false}, {8, GROUP, true, false, false}};
    zp_group_activations activations = {{ZP_TYPE_F32, NULL, ROWS, DEPTH, 0}, NULL, ZP_OFFSET_ZERO, 0};
    zp_group_activations one = activations;
    zp_params *yp = params_of(U8, 0.125F, 100);
    size_t s, i, j, k;
    activations.x.data = one.x.data = x, one.x.rows = 1;
    fill(x, ROWS * DEPTH, 0.7F), fill(w, OUTPUTS * DEPTH, 1.3F), fill(bias, OUTPUTS, 2.1F);
    for (s = 0; s < 3; ++s) {
        zp_stored_weights *stored = NULL;
        zp_group_weights *weights = NULL, *shared = NULL;
        zp_group_stage *stage = NULL;
        size_t depth = 0, outputs = 0, bytes = 0;
        OK(zp_stored_weights_quantize(&exec, view(ZP_TYPE_F32, w, OUTPUTS, DEPTH), schemes[s], &stored, &message));
        OK(zp_stored_weights_values(stored, view_mut(ZP_TYPE_F32, values, OUTPUTS, DEPTH), &message));
        OK(zp_group_weights_pack(&exec, stored, &weights, &message));
        OK(zp_stored_weights_free(stored, &message));
        OK(zp_group_weights_share(weights, &shared, &message));
        OK(zp_group_weights_free(weights, &message));
        OK(zp_group_weights_get(shared, &depth, &outputs, &bytes, &message));
        CHECK(depth == DEPTH && outputs == OUTPUTS && bytes > 0);
        OK(zp_group_stage_new(bias, OUTPUTS, -INFINITY, INFINITY, &stage, &message));
        OK(zp_group_matmul(&exec, &activations, shared, stage, NULL, view_mut(ZP_TYPE_F32, y, ROWS, OUTPUTS), &message));
        for (i = 0; i < ROWS; ++i) {
            for (j = 0; j < OUTPUTS; ++j) {
                double sum = bias[j];
                for (k = 0; k < DEPTH; ++k) sum += (double)x[i * DEPTH + k] * values[j * DEPTH + k];
                CHECK(fabs(sum - y[i * OUTPUTS + j]) < 0.1); /* 8-bit activations */
            }
        }
        OK(zp_group_matmul(&exec, &one, shared, stage, NULL, view_mut(ZP_TYPE_F32, row, 1, OUTPUTS), &message));
        CHECK(memcmp(row, y, sizeof row) == 0);
        OK(zp_group_matmul(&exec, &activations, shared, stage, yp, view_mut(ZP_TYPE_U8, codes, ROWS, OUTPUTS), &message));
        OK(zp_quantize(&exec, view(ZP_TYPE_F32, y, ROWS, OUTPUTS), yp, NEAREST, view_mut(ZP_TYPE_U8, expected, ROWS, OUTPUTS), &message));
        CHECK(memcmp(codes, expected, sizeof codes) == 0);
        OK(zp_group_matmul(&exec, &activations, shared, stage, NULL, view_mut(ZP_TYPE_BF16, halves, ROWS, OUTPUTS), &message));
        for (i = 0; i < ROWS * OUTPUTS; ++i) {
            const uint32_t bits = (uint32_t)halves[i] << 16;
            float half;
            memcpy(&half, &bits, 4);
            CHECK(fabsf(half - y[i]) <= fabsf(y[i]) / 256.0F);
        }
        OK(zp_group_stage_free(stage, &message));
        OK(zp_group_weights_free(shared, &message));
    }
    OK(zp_params_free(yp, &message));
}

/* Parts in memory, MatMulNBits and Q4_0 that hold the same weights give the same bytes. */
static void parts(zp_exec exec)
{
    uint8_t codes[OUTPUTS * DEPTH], nbits[OUTPUTS * DEPTH / 2], q4_0[OUTPUTS * GROUPS * 18];
    uint16_t scales16[OUTPUTS * GROUPS];
    float scales[OUTPUTS * GROUPS], x[ROWS * DEPTH], y[3][ROWS * OUTPUTS];
    int32_t zero_points[OUTPUTS * GROUPS];
    const zp_tensor_format format = {ZP_FORMAT_Q4_0, 0.0F};
    zp_group_parts given = {{ZP_TYPE_U8, NULL, OUTPUTS, DEPTH, 0}, {ZP_TYPE_U8, 0, 15}, ZP_ORDER_ROWS, GROUP, {ZP_TYPE_F16, NULL, OUTPUTS, GROUPS, 0},
                            {ZP_TYPE_I32, NULL, OUTPUTS, GROUPS, 0}, {ZP_TYPE_F32, NULL, 0, 0, 0}};
    zp_group_activations activations = {{ZP_TYPE_F32, NULL, ROWS, DEPTH, 0}, NULL, ZP_OFFSET_INTEGER, GROUP};
    zp_stored_weights *stored[2] = {NULL, NULL};
    zp_group_weights *weights[3] = {NULL, NULL, NULL};
    size_t i, j;
    activations.x.data = x;
    fill(x, ROWS * DEPTH, 0.3F);
    for (i = 0; i < OUTPUTS * DEPTH; ++i) codes[i] = (uint8_t)(i * 7 % 16);
    for (i = 0; i < OUTPUTS * GROUPS; ++i) {
        const uint16_t half = 0x3800; /* 0.5 in binary16 */
        uint8_t *block = q4_0 + 18 * i;
        scales16[i] = half, scales[i] = 0.5F, zero_points[i] = 8;
        memcpy(block, &half, 2);
        for (j = 0; j < 16; ++j) block[2 + j] = (uint8_t)(codes[GROUP * i + j] | codes[GROUP * i + 16 + j] << 4);
        for (j = 0; j < 16; ++j) nbits[16 * i + j] = (uint8_t)(codes[GROUP * i + 2 * j] | codes[GROUP * i + 2 * j + 1] << 4);
    }
    given.codes.data = codes, given.scales.data = scales16, given.zero_points.data = zero_points;
    OK(zp_group_weights_pack_parts(&exec, &given, &weights[0], &message));
    OK(zp_stored_weights_from_format(&exec, format, view(ZP_TYPE_U8, q4_0, 1, sizeof q4_0), OUTPUTS, DEPTH, &stored[0], &message));
    OK(zp_stored_weights_matmul_nbits(4, GROUP, view(ZP_TYPE_U8, nbits, 1, sizeof nbits), view(ZP_TYPE_F32, scales, 1, OUTPUTS * GROUPS),
                                      NOTHING, OUTPUTS, DEPTH, &stored[1], &message));
    for (i = 0; i < 2; ++i) {
        OK(zp_group_weights_pack(&exec, stored[i], &weights[i + 1], &message));
        OK(zp_stored_weights_free(stored[i], &message));
    }
    for (i = 0; i < 3; ++i) {
        OK(zp_group_matmul(&exec, &activations, weights[i], NULL, NULL, view_mut(ZP_TYPE_F32, y[i], ROWS, OUTPUTS), &message));
        OK(zp_group_weights_free(weights[i], &message));
    }
    CHECK(memcmp(y[0], y[1], sizeof y[0]) == 0 && memcmp(y[0], y[2], sizeof y[0]) == 0);
}

static void formats(zp_exec exec)
{
    const zp_format all[] = {ZP_FORMAT_MXINT8, ZP_FORMAT_MXFP4, ZP_FORMAT_NVFP4, ZP_FORMAT_Q4_0, ZP_FORMAT_Q4_1, ZP_FORMAT_Q5_0,
                             ZP_FORMAT_Q5_1, ZP_FORMAT_Q8_0, ZP_FORMAT_Q2_K, ZP_FORMAT_Q4_K, ZP_FORMAT_Q5_K, ZP_FORMAT_Q6_K};
    enum { COUNT = 512 };
    float x[COUNT], back[COUNT];
    uint8_t bytes[COUNT * 2];
    size_t i;
    fill(x, COUNT, 0.9F);
    for (i = 0; i < LENGTH(all); ++i) {
        zp_tensor_format format = {ZP_FORMAT_MXINT8, 1.0F};
        zp_error_report report;
        size_t block = 0, size = 0, total;
        format.format = all[i];
        OK(zp_nvfp4_fit(&exec, view(ZP_TYPE_F32, x, 1, COUNT), &format.tensor_scale, &message));
        OK(zp_format_block(all[i], &block, &size, &message));
        total = COUNT / block * size;
        OK(zp_encode_blocks(&exec, format, view(ZP_TYPE_F32, x, 1, COUNT), NEAREST, view_mut(ZP_TYPE_U8, bytes, 1, total), &message));
        OK(zp_decode_blocks(&exec, format, view(ZP_TYPE_U8, bytes, 1, total), view_mut(ZP_TYPE_F32, back, 1, COUNT), &message));
        OK(zp_reconstruction_error(&exec, view(ZP_TYPE_F32, x, 1, COUNT), view(ZP_TYPE_F32, back, 1, COUNT), &report, &message));
        CHECK(report.elements == COUNT && report.sqnr > 9.0 && report.saturated == 0);
    }
}

static void fp8(zp_exec exec)
{
    const float weights[6] = {0.5F, -1.0F, 0.25F, 8.0F, -4.0F, 2.1F};
    const uint8_t expected[6] = {0x76, 0xfe, 0x6e, 0x7e, 0xf6, 0x6f};
    const size_t shape[2] = {2, 3};
    const float *scales = NULL;
    size_t count = 0;
    uint8_t codes[6];
    float back[6];
    zp_granularity rows;
    zp_fp8_params *params = NULL, *again = NULL;
    OK(zp_granularity_channel(shape, 2, 0, &rows, &message));
    OK(zp_fp8_params_fit(&exec, view(ZP_TYPE_F32, weights, 1, 6), ZP_FP8_E4M3, true, rows, &params, &message));
    OK(zp_fp8_encode(&exec, view(ZP_TYPE_F32, weights, 1, 6), params, NEAREST, view_mut(ZP_TYPE_U8, codes, 1, 6), &message));
    CHECK(memcmp(codes, expected, 6) == 0);
    OK(zp_fp8_params_scales(params, &scales, &count, &message));
    CHECK(count == 2 && scales[1] == 8.0F / 448.0F);
    OK(zp_fp8_params_new(ZP_FP8_E4M3, true, rows, scales, 2, &again, &message));
    OK(zp_fp8_decode(&exec, view(ZP_TYPE_U8, codes, 1, 6), again, view_mut(ZP_TYPE_F32, back, 1, 6), &message));
    CHECK(back[0] == 0.5F && back[3] == 8.0F);
    OK(zp_fp8_params_free(params, &message));
    OK(zp_fp8_params_free(again, &message));
}

/* Stages by hand, from scales and stochastic: of the products 5 of ones and fives. */
static void stages(zp_exec exec)
{
    const uint8_t a[4] = {5, 5, 5, 5};
    const int8_t b[4] = {1, 1, 1, 1}, expected[16] = {1, 1, 1, 1, 1, 1, 2, 2, 1, 2, 1, 1, 1, 2, 1, 1};
    const float bias[4] = {0.5F, 1.0F, 1.5F, 2.0F};
    const double quarter = 0.25;
    const zp_codes i8 = {ZP_TYPE_I8, -128, 127};
    zp_params *ap = params_of(U8, 1.0F, 0), *bp = params_of(i8, 1.0F, 0), *yp = params_of(i8, 4.0F, -3);
    zp_weights *weights = NULL, *biased = NULL;
    zp_stage *by_hand = NULL, *stochastic = NULL, *floats = NULL, *codes = NULL;
    zp_bias layer_bias = {NULL, 4, NULL};
    int8_t c[16];
    int32_t sums[16];
    float y[16];
    size_t i;
    layer_bias.values = bias, layer_bias.x = ap;
    OK(zp_weights_pack(&exec, ZP_TYPE_U8, view(ZP_TYPE_I8, b, 1, 4), bp, ZP_ORDER_COLUMNS, NULL, &weights, &message));
    OK(zp_weights_pack(&exec, ZP_TYPE_U8, view(ZP_TYPE_I8, b, 4, 1), bp, ZP_ORDER_ROWS, &layer_bias, &biased, &message));
    OK(zp_stage_multipliers_new(ZP_RULE_FLOAT, &quarter, 1, 0, i8, &by_hand, &message));
    OK(zp_stage_stochastic_new(by_hand, 3, 0, &stochastic, &message));
    OK(zp_matmul(&exec, view(ZP_TYPE_U8, a, 4, 1), ap, weights, stochastic, view_mut(ZP_TYPE_I8, c, 4, 4), &message));
    CHECK(memcmp(c, expected, 16) == 0);
    OK(zp_matmul(&exec, view(ZP_TYPE_U8, a, 4, 1), ap, weights, by_hand, view_mut(ZP_TYPE_I8, c, 4, 4), &message));
    for (i = 0; i < 16; ++i) CHECK(c[i] == 1);
    OK(zp_stage_dequantize_new(bias, 4, &floats, &message));
    OK(zp_matmul(&exec, view(ZP_TYPE_U8, a, 4, 1), ap, weights, floats, view_mut(ZP_TYPE_F32, y, 4, 4), &message));
    for (i = 0; i < 16; ++i) CHECK(y[i] == 5.0F + bias[i % 4]);
    OK(zp_matmul(&exec, view(ZP_TYPE_U8, a, 4, 1), ap, weights, zp_stage_dequantize(), view_mut(ZP_TYPE_F32, y, 4, 4), &message));
    CHECK(y[15] == 5.0F);
    OK(zp_matmul(&exec, view(ZP_TYPE_U8, a, 4, 1), ap, biased, zp_stage_accumulators(), view_mut(ZP_TYPE_I32, sums, 4, 4), &message));
    CHECK(sums[0] == 5 && sums[1] == 6 && sums[2] == 7 && sums[3] == 7); /* biases to nearest, ties to even */
    OK(zp_stage_requantize_new(weights, ap, yp, ZP_RULE_ONNXRUNTIME, NO_ACTIVATION, &codes, &message));
    OK(zp_matmul(&exec, view(ZP_TYPE_U8, a, 4, 1), ap, weights, codes, view_mut(ZP_TYPE_I8, c, 4, 4), &message));
    CHECK(c[0] == 1 - 3);
    OK(zp_stage_free(by_hand, &message));
    OK(zp_stage_free(stochastic, &message));
    OK(zp_stage_free(floats, &message));
    OK(zp_stage_free(codes, &message));
    OK(zp_weights_free(weights, &message));
    OK(zp_weights_free(biased, &message));
    OK(zp_params_free(ap, &message));
    OK(zp_params_free(bp, &message));
    OK(zp_params_free(yp, &message));
}

static void pooling(zp_exec exec)
{
    const uint8_t image[4] = {10, 20, 30, 45};
    const zp_shape shape = {{1, 2, 2, 1}};
    zp_params *params = params_of(U8, 0.5F, 10);
    zp_window window = zp_window_of(2, 2);
    zp_shape output;
    uint8_t out[1];
    OK(zp_average_pool2d_output_shape(NULL, false, shape, &output, &message));
    CHECK(output.axes[1] == 1 && output.axes[2] == 1);
    OK(zp_average_pool2d(&exec, NULL, false, view(ZP_TYPE_U8, image, 1, 4), shape, params, view_mut(ZP_TYPE_U8, out, 1, 1), &message));
    CHECK(out[0] == 26);
    OK(zp_average_pool2d(&exec, &window, true, view(ZP_TYPE_U8, image, 1, 4), shape, params, view_mut(ZP_TYPE_U8, out, 1, 1), &message));
    CHECK(out[0] == 26);
    OK(zp_max_pool2d(&exec, window, view(ZP_TYPE_U8, image, 1, 4), shape, view_mut(ZP_TYPE_U8, out, 1, 1), &message));
    CHECK(out[0] == 45);
    OK(zp_params_free(params, &message));
}

static void reports(zp_exec exec)
{
    const float x[4] = {0.25F + 0.125F, -1.5F, 1.0F, 4.0F}, more[3] = {1.0F, NAN, 3.0F};
    const zp_codes i4 = {ZP_TYPE_I8, -8, 7};
    const zp_scheme scheme = {ZP_SCALE_FLOAT, ZP_OFFSET_INTEGER, ZP_ROUNDING_KIND_NEAREST};
    zp_params *params = params_of(i4, 0.5F, 0);
    zp_observer *a = NULL, *b = NULL;
    zp_error_report report;
    zp_range range;
    uint64_t skipped = 0;
    OK(zp_quantization_error(&exec, view(ZP_TYPE_F32, x, 1, 4), params, &report, &message));
    CHECK(report.sse == 0.265625 && report.mse == 0.06640625 && report.max_error == 0.5F && report.saturated == 1);
    OK(zp_observer_new("std:3", i4, scheme, 1, true, &a, &message));
    OK(zp_observer_new("std:3", i4, scheme, 1, true, &b, &message));
    OK(zp_observer_observe(&exec, a, view(ZP_TYPE_F32, x, 1, 4), &message));
    OK(zp_observer_observe(&exec, b, view(ZP_TYPE_F32, more, 1, 3), &message));
    OK(zp_observer_merge(b, a, &message));
    OK(zp_observer_range(b, &range, &skipped, &message));
    CHECK(range.min < 0.0F && range.max > 1.0F && skipped == 1);
    OK(zp_observer_free(a, &message));
    OK(zp_observer_free(b, &message));
    OK(zp_observer_new("minmax", i4, scheme, 1, true, &a, &message));
    OK(zp_observer_observe(&exec, a, view(ZP_TYPE_F32, more, 1, 3), &message));
    OK(zp_observer_range(a, &range, &skipped, &message));
    CHECK(range.min == 1.0F && range.max == 3.0F && skipped == 1);
    OK(zp_observer_free(a, &message));
    OK(zp_params_free(params, &message));
}

int main(void)
{
    const zp_isa all[] = {ZP_ISA_BEST, ZP_ISA_SCALAR};
    size_t i;
    for (i = 0; i < LENGTH(all); ++i) {
        zp_exec exec = {ZP_ISA_BEST, NULL};
        exec.isa = all[i];
        groups(exec);
        parts(exec);
        formats(exec);
        fp8(exec);
        stages(exec);
        pooling(exec);
        reports(exec);
    }
    return 0;
}
