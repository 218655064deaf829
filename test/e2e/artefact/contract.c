// Runs a network of several clip lengths: which program it takes follows from the array's shape.
//   contract DRIVER WEIGHTS INPUT OUTPUT BATCH FRAMES
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clips.h"

static void expect_failure(int failed, const char* said) {
  if (failed && strstr(clips_error(), said) != NULL) return;
  fprintf(stderr, "wanted \"%s\", got \"%s\"\n", said, clips_error());
  exit(1);
}

int main(int count, char** values) {
  if (count != 7) return 2;
  const int64_t shape[] = {atoi(values[5]), atoi(values[6]), 6};
  const int64_t* shapes[] = {shape};
  int batch, frames;
  if (clips_match(shapes, &batch, &frames)) return fprintf(stderr, "%s\n", clips_error()), 1;

  int64_t extents[CLIPS_MAX_RANK];
  size_t input_bytes = clips_input_shape(0, batch, frames, extents);
  if (memcmp(extents, shape, sizeof shape) != 0) return 3;
  size_t output_bytes = clips_output_shape(0, batch, frames, extents);
  printf("y %lld %lld %lld, %d launches\n", (long long)extents[0], (long long)extents[1], (long long)extents[2],
         clips_launch_count(frames));
  void* input = malloc(input_bytes);
  void* output = malloc(output_bytes);
  FILE* file = fopen(values[3], "rb");
  if (file == NULL || fread(input, 1, input_bytes, file) != input_bytes || fclose(file) != 0) return 4;

  clips_context* context = clips_create(values[1], 0);
  if (context == NULL || clips_load_weights(context, values[2])) return fprintf(stderr, "%s\n", clips_error()), 1;
  const void* inputs[] = {input};
  void* outputs[] = {output};
  expect_failure(clips_run_host(context, batch, 5, inputs, outputs),
                 "t = 5: \"clips\" was built for batch 1..4, t = 3 or 6; the nearest is t=6");
  expect_failure(clips_run_host(context, 5, frames, inputs, outputs), "batch 5: \"clips\" was built for batch 1..4");
  expect_failure(clips_output_shape(0, batch, 7, NULL) == 0, "t = 7");
  expect_failure(clips_launch_count(99) < 0, "t = 99");
  const int64_t longer[] = {batch, 4, 6};
  shapes[0] = longer;
  expect_failure(clips_match(shapes, &batch, &frames), "4, 6]: outside of what \"clips\" was built for: batch 1..4, t = 3 or 6; the nearest is t=3");
  // Each length in the other's memory, too.
  for (int i = 0; i < 2; ++i) {
    void* other = calloc(4 * 6 * 8, sizeof(float));
    const void* zeros[] = {other};
    void* others[] = {calloc(4 * 6 * 8, sizeof(float))};
    if (clips_run_host(context, 4, i == 0 ? 6 : 3, zeros, others)) return fprintf(stderr, "%s\n", clips_error()), 1;
    if (clips_run_host(context, batch, frames, inputs, outputs)) return fprintf(stderr, "%s\n", clips_error()), 1;
    free(other);
    free(others[0]);
  }
  clips_destroy(context);

  file = fopen(values[4], "wb");
  if (file == NULL || fwrite(output, 1, output_bytes, file) != output_bytes || fclose(file) != 0) return 5;
  free(input);
  free(output);
  return 0;
}
