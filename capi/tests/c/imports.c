/* Parameters and weights as other programs have them: GPTQ, AWQ, ONNX, blocks; and a convolution that is shared. Each is checked against
 * the arithmetic of its format. */
#include "check.h"

enum { DEPTH = 32, OUTPUTS = 16, GROUP = 16, GROUPS = DEPTH / GROUP };

static const zp_exec exec = {ZP_ISA_BEST, NULL};
static const zp_granularity TENSOR = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};
static const zp_codes U8 = {ZP_TYPE_U8, 0, 255}, I8 = {ZP_TYPE_I8, -127, 127};

static zp_view row(zp_type type, const void *data, size_t count)
{
    zp_view view = {type, NULL, 1, 0, 0};
    view.data = data, view.columns = count;
    return view;
}

static zp_view_mut row_mut(zp_type type, void *data, size_t count)
{
    zp_view_mut view = {type, NULL, 1, 0, 0};
    view.data = data, view.columns = count;
    return view;
}

static int code(size_t output, size_t k) { return (int)((output * 7 + k * 5) % 16); }
static int zero_point(size_t output, size_t group) { return (int)((output * 3 + group) % 15) + 1; }

/* 2^-g in binary16. */
static uint16_t scale_bits(size_t group) { return (uint16_t)((15 - group) << 10); }
static float scale(size_t group) { return 1.0F / (float)(1 << group); }

static void put(uint32_t *words, size_t index, size_t nibble, int value)
{
    words[index] |= (uint32_t)value << (4 * nibble);
}

static void check_values(zp_stored_weights *stored, const size_t *group_of)
{
    float values[OUTPUTS * DEPTH];
    size_t o, k;
    OK(zp_stored_weights_values(stored, row_mut(ZP_TYPE_F32, values, OUTPUTS * DEPTH), &message));
    for (o = 0; o < OUTPUTS; ++o) {
        for (k = 0; k < DEPTH; ++k) {
            const size_t g = group_of[k];
            CHECK(values[o * DEPTH + k] == scale(g) * (float)(code(o, k) - zero_point(o, g)));
        }
    }
    OK(zp_stored_weights_free(stored, &message));
}

static void gptq_and_awq(void)
{
    /* The output of every nibble of AWQ, from the lowest on. */
    static const size_t AWQ[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    const zp_view none = {ZP_TYPE_I32, NULL, 0, 0, 0};
    uint32_t gptq[DEPTH / 8 * OUTPUTS] = {0}, gptq_zeros[GROUPS * OUTPUTS / 8] = {0};
    uint32_t awq[DEPTH * OUTPUTS / 8] = {0}, awq_zeros[GROUPS * OUTPUTS / 8] = {0};
    uint16_t scales[GROUPS * OUTPUTS];
    int32_t g_idx[DEPTH];
    size_t in_order[DEPTH], by_index[DEPTH], o, k, g, j;
    zp_stored_weights *stored = NULL;
    for (k = 0; k < DEPTH; ++k) {
        in_order[k] = k / GROUP, by_index[k] = k % GROUPS, g_idx[k] = (int32_t)by_index[k];
        for (o = 0; o < OUTPUTS; ++o) put(gptq, k / 8 * OUTPUTS + o, k % 8, code(o, k));
        for (o = 0; o < OUTPUTS; o += 8) {
            for (j = 0; j < 8; ++j) put(awq, (k * OUTPUTS + o) / 8, j, code(o + AWQ[j], k));
        }
    }
    for (g = 0; g < GROUPS; ++g) {
        for (o = 0; o < OUTPUTS; ++o) {
            scales[g * OUTPUTS + o] = scale_bits(g);
            put(gptq_zeros, (g * OUTPUTS + o) / 8, o % 8, zero_point(o, g) - 1);
        }
        for (o = 0; o < OUTPUTS; o += 8) {
            for (j = 0; j < 8; ++j) put(awq_zeros, (g * OUTPUTS + o) / 8, j, zero_point(o + AWQ[j], g));
        }
    }
    OK(zp_stored_weights_gptq(GROUP, row(ZP_TYPE_I32, gptq, LENGTH(gptq)), row(ZP_TYPE_I32, gptq_zeros, LENGTH(gptq_zeros)),
                              row(ZP_TYPE_F16, scales, LENGTH(scales)), none, OUTPUTS, DEPTH, &stored, &message));
    check_values(stored, in_order);
    OK(zp_stored_weights_gptq(GROUP, row(ZP_TYPE_I32, gptq, LENGTH(gptq)), row(ZP_TYPE_I32, gptq_zeros, LENGTH(gptq_zeros)),
                              row(ZP_TYPE_F16, scales, LENGTH(scales)), row(ZP_TYPE_I32, g_idx, DEPTH), OUTPUTS, DEPTH, &stored,
                              &message));
    check_values(stored, by_index);
    OK(zp_stored_weights_awq(GROUP, row(ZP_TYPE_I32, awq, LENGTH(awq)), row(ZP_TYPE_I32, awq_zeros, LENGTH(awq_zeros)),
                             row(ZP_TYPE_F16, scales, LENGTH(scales)), OUTPUTS, DEPTH, &stored, &message));
    check_values(stored, in_order);
    FAILS(ZP_ERROR_TYPE, "scales has elements of ZP_TYPE_U16",
          zp_stored_weights_awq(GROUP, row(ZP_TYPE_I32, awq, LENGTH(awq)), row(ZP_TYPE_I32, awq_zeros, LENGTH(awq_zeros)),
                                row(ZP_TYPE_U16, scales, LENGTH(scales)), OUTPUTS, DEPTH, &stored, &message));
    FAILS(ZP_ERROR_LENGTH, "7 given",
          zp_stored_weights_awq(GROUP, row(ZP_TYPE_I32, awq, 7), row(ZP_TYPE_I32, awq_zeros, LENGTH(awq_zeros)),
                                row(ZP_TYPE_F16, scales, LENGTH(scales)), OUTPUTS, DEPTH, &stored, &message));
}

static void onnx(void)
{
    const zp_range range = {-1.0F, 2.0F};
    const float *scales = NULL;
    const int32_t *zero_points = NULL;
    size_t count = 0;
    zp_params *params = NULL;
    OK(zp_params_as_onnx(U8, TENSOR, &range, 1, &params, &message));
    OK(zp_params_get(params, NULL, NULL, &scales, &zero_points, &count, &message));
    CHECK(count == 1 && scales[0] == 3.0F / 255.0F && zero_points[0] == 85);
    OK(zp_params_free(params, &message));
}

/* Blocks of 2 along the first axis of `[3, 2]`: the last has one row. */
static void blocks(void)
{
    static const uint8_t CODES[6] = {1, 2, 3, 4, 5, 6};
    static const float SCALES[4] = {1.0F, 2.0F, 4.0F, 8.0F}, EXPECTED[6] = {1, 4, 3, 8, 20, 48};
    static const int32_t ZEROS[4] = {0, 0, 0, 0};
    const size_t shape[2] = {3, 2};
    float y[6];
    zp_granularity granularity = TENSOR;
    zp_params *params = NULL;
    OK(zp_granularity_block(shape, 2, 0, 2, &granularity, &message));
    CHECK(granularity.kind == ZP_GRANULARITY_KIND_BLOCK);
    OK(zp_params_new(U8, granularity, SCALES, ZEROS, 4, &params, &message));
    OK(zp_dequantize(&exec, row(ZP_TYPE_U8, CODES, 6), params, row_mut(ZP_TYPE_F32, y, 6), &message));
    CHECK(memcmp(y, EXPECTED, sizeof y) == 0);
    OK(zp_params_free(params, &message));
    FAILS(ZP_ERROR_SHAPE, "", zp_granularity_block(shape, 2, 2, 2, &granularity, &message));
    FAILS(ZP_ERROR_SHAPE, "", zp_granularity_block(shape, 2, 0, 0, &granularity, &message));
}

/* A convolution of one position, whose first owner has gone. */
static void shared_convolution(void)
{
    static const int8_t W[2] = {3, -5};
    static const uint8_t X[4] = {10, 20, 30, 40};
    const zp_shape weights = {{1, 2, 1, 1}}, images = {{1, 1, 2, 2}};
    const zp_window window = {{1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}};
    const float one = 1.0F;
    const int32_t zero = 0;
    int32_t y[2] = {0, 0};
    zp_params *x = NULL, *w = NULL;
    zp_conv2d *conv = NULL, *other = NULL;
    OK(zp_params_new(U8, TENSOR, &one, &zero, 1, &x, &message));
    OK(zp_params_new(I8, TENSOR, &one, &zero, 1, &w, &message));
    OK(zp_conv2d_new(&exec, ZP_TYPE_U8, row(ZP_TYPE_I8, W, 2), weights, w, window, 1, NULL, &conv, &message));
    OK(zp_conv2d_share(conv, &other, &message));
    OK(zp_conv2d_free(conv, &message));
    OK(zp_conv2d_forward(&exec, other, row(ZP_TYPE_U8, X, 4), images, x, zp_stage_accumulators(), row_mut(ZP_TYPE_I32, y, 2),
                         &message));
    CHECK(y[0] == 3 * 10 - 5 * 20 && y[1] == 3 * 30 - 5 * 40);
    OK(zp_conv2d_free(other, &message));
    FAILS(ZP_ERROR_HANDLE, "was freed", zp_conv2d_share(other, &conv, &message));
    OK(zp_params_free(x, &message));
    OK(zp_params_free(w, &message));
}

int main(void)
{
    gptq_and_awq();
    onnx();
    blocks();
    shared_convolution();
    return 0;
}
