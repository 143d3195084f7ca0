/* A product of int8 matrices: y = x · wᵀ.
 *   cc matmul.c $(pkg-config --cflags --libs zeropoint) -o matmul && ./matmul */
#include <stdio.h>
#include <zeropoint.h>

static int failed(zp_error error, const zp_message *message)
{
    if (error != ZP_ERROR_NONE) fprintf(stderr, "error %u: %s\n", (unsigned)error, message->text);
    return error != ZP_ERROR_NONE;
}

int main(void)
{
    const float x[6] = {0.1F, -0.4F, 0.9F, 0.3F, 0.2F, -0.7F};     /* [2, 3] */
    const float w[6] = {0.5F, -0.25F, 1.0F, 0.75F, -1.0F, 0.125F}; /* [2, 3]: a row for every output */
    uint8_t x_codes[6];
    int8_t w_codes[6];
    float y[4]; /* [2, 2] */

    const zp_exec exec = {ZP_ISA_BEST, NULL}; /* the fastest ISA of this CPU, on this thread */
    const zp_rounding nearest = {ZP_ROUNDING_KIND_NEAREST, 0, 0};
    const zp_codes u8 = {ZP_TYPE_U8, 0, 255}, narrow = {ZP_TYPE_I8, -127, 127};
    const zp_scheme asymmetric = {ZP_SCALE_FLOAT, ZP_OFFSET_INTEGER, ZP_ROUNDING_KIND_NEAREST};
    const zp_scheme symmetric = {ZP_SCALE_FLOAT, ZP_OFFSET_ZERO, ZP_ROUNDING_KIND_NEAREST};
    const zp_granularity tensor = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};
    const size_t w_shape[2] = {2, 3};
    const zp_view xv = {ZP_TYPE_F32, x, 2, 3, 0}, wv = {ZP_TYPE_F32, w, 2, 3, 0};
    const zp_view x_read = {ZP_TYPE_U8, x_codes, 2, 3, 0}, w_read = {ZP_TYPE_I8, w_codes, 2, 3, 0};
    const zp_view_mut x_write = {ZP_TYPE_U8, x_codes, 2, 3, 0}, w_write = {ZP_TYPE_I8, w_codes, 2, 3, 0};
    const zp_view_mut yv = {ZP_TYPE_F32, y, 2, 2, 0};

    zp_message message;
    zp_granularity per_output;
    zp_params *x_params = NULL, *w_params = NULL;
    zp_weights *weights = NULL;
    int status = 1;
    size_t i;

    if (failed(zp_params_fit(&exec, xv, u8, asymmetric, tensor, &x_params, &message), &message)) goto end;
    if (failed(zp_granularity_channel(w_shape, 2, 0, &per_output, &message), &message)) goto end;
    if (failed(zp_params_fit(&exec, wv, narrow, symmetric, per_output, &w_params, &message), &message)) goto end;
    if (failed(zp_quantize(&exec, xv, x_params, nearest, x_write, &message), &message)) goto end;
    if (failed(zp_quantize(&exec, wv, w_params, nearest, w_write, &message), &message)) goto end;
    /* Packed once, for any number of products. */
    if (failed(zp_weights_pack(&exec, ZP_TYPE_U8, w_read, w_params, ZP_ORDER_ROWS, NULL, &weights, &message), &message)) goto end;
    if (failed(zp_matmul(&exec, x_read, x_params, weights, zp_stage_dequantize(), yv, &message), &message)) goto end;
    for (i = 0; i < 4; ++i) printf("%.4f ", (double)y[i]);
    printf("(1.0500 0.5875 -0.6000 -0.0625 in float)\n");
    status = 0;
end:
    zp_weights_free(weights, NULL);
    zp_params_free(w_params, NULL);
    zp_params_free(x_params, NULL);
    return status;
}
