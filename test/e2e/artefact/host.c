// Runs an artefact from C: on host arrays, on a stream of its own with arrays on the device, from several threads at
// once, and with times.
//   host DRIVER WEIGHTS OTHER_WEIGHTS INPUT OUTPUT BATCH
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "timesformer.h"

enum { kThreads = 4 };

static const char* driver_path;
static const char* weights_path;
static const char* other_path;
static int batch;
static size_t input_bytes, output_bytes;
static unsigned char* input;
static unsigned char* expected;
static unsigned char* of_others;  // with the other weights

// A process may take its time to end: the device's own threads must not mind what is gone by then.
static void linger(void) {
  struct timespec half_a_second = {0, 500000000};
  nanosleep(&half_a_second, NULL);
}

static void stop(const char* what) {
  fprintf(stderr, "%s: %s\n", what, timesformer_error());
  exit(1);
}

static timesformer_context* open_context(void) {
  timesformer_context* context = timesformer_create(driver_path, 0);
  if (context == NULL) stop("create");
  if (timesformer_load_weights(context, weights_path)) stop("weights");
  return context;
}

static void run_and_compare(timesformer_context* context, const char* what) {
  unsigned char* output = malloc(output_bytes);
  memset(output, 0xff, output_bytes);
  if (timesformer_run_host(context, batch, (const void*[]){input}, (void*[]){output})) stop(what);
  if (memcmp(output, expected, output_bytes) != 0) {
    fprintf(stderr, "%s: other numbers\n", what);
    exit(1);
  }
  free(output);
}

static void* with_shared_context(void* context) {
  for (int i = 0; i < 3; ++i) run_and_compare(context, "a shared context");
  return NULL;
}

static void* with_own_context(void* unused) {
  timesformer_context* context = open_context();
  run_and_compare(context, "a context of its own");
  timesformer_destroy(context);
  return unused;
}

// Runs while weights change: each sees the one set or the other, whole.
static void* while_weights_change(void* context) {
  unsigned char* output = malloc(output_bytes);
  for (int i = 0; i < 6; ++i) {
    if (timesformer_run_host(context, batch, (const void*[]){input}, (void*[]){output})) stop("while weights change");
    if (memcmp(output, expected, output_bytes) != 0 && memcmp(output, of_others, output_bytes) != 0)
      stop("while weights change: numbers of neither set");
  }
  free(output);
  return NULL;
}

static void* change_weights(void* context) {
  for (int i = 0; i < 9; ++i)
    if (timesformer_load_weights(context, i % 2 == 0 ? other_path : weights_path)) stop("change weights");
  return NULL;
}

static void swap_weights(timesformer_context* context) {
  of_others = malloc(output_bytes);
  if (timesformer_load_weights(context, other_path)) stop("other weights");
  if (timesformer_run_host(context, batch, (const void*[]){input}, (void*[]){of_others})) stop("other weights");
  if (memcmp(of_others, expected, output_bytes) == 0) stop("other weights give the same numbers");
  // What cannot be taken leaves what is there.
  if (!timesformer_set_weights(context, input, input_bytes)) stop("weights that are none");
  unsigned char* again = malloc(output_bytes);
  if (timesformer_run_host(context, batch, (const void*[]){input}, (void*[]){again})) stop("the same weights");
  if (memcmp(again, of_others, output_bytes) != 0) stop("refused weights have changed something");
  free(again);
  pthread_t threads[3];
  pthread_create(&threads[0], NULL, change_weights, context);
  for (int i = 1; i < 3; ++i) pthread_create(&threads[i], NULL, while_weights_change, context);
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  if (timesformer_load_weights(context, weights_path)) stop("the first weights again");
  run_and_compare(context, "the first weights again");
  free(of_others);
}

static void in_threads(void* (*work)(void*), void* argument) {
  pthread_t threads[kThreads];
  for (int i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, work, argument);
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
}

// The caller's own stream and arrays, through the driver's functions that it loads itself.
static void on_a_stream(timesformer_context* context) {
  void* driver = dlopen(driver_path, RTLD_NOW);
  int (*retain)(void**, int) = (int (*)(void**, int))dlsym(driver, "cuDevicePrimaryCtxRetain");
  int (*make_current)(void*) = (int (*)(void*))dlsym(driver, "cuCtxSetCurrent");
  int (*allocate)(uint64_t*, size_t) = (int (*)(uint64_t*, size_t))dlsym(driver, "cuMemAlloc_v2");
  int (*release)(uint64_t) = (int (*)(uint64_t))dlsym(driver, "cuMemFree_v2");
  int (*upload)(uint64_t, const void*, size_t) = (int (*)(uint64_t, const void*, size_t))dlsym(driver, "cuMemcpyHtoD_v2");
  int (*download)(void*, uint64_t, size_t) = (int (*)(void*, uint64_t, size_t))dlsym(driver, "cuMemcpyDtoH_v2");
  int (*create_stream)(void**, unsigned) = (int (*)(void**, unsigned))dlsym(driver, "cuStreamCreate");
  int (*synchronize)(void*) = (int (*)(void*))dlsym(driver, "cuStreamSynchronize");
  void* current;
  void* streams[2];
  uint64_t inputs[1], outputs[1];
  unsigned char* output = malloc(output_bytes);
  if (retain(&current, 0) || make_current(current) || allocate(inputs, input_bytes) || allocate(outputs, output_bytes) ||
      upload(inputs[0], input, input_bytes) || create_stream(&streams[0], 1) || create_stream(&streams[1], 1))
    stop("the caller's own calls");
  // Two runs at once on two streams: there is one set of buffers, and the second waits.
  for (int i = 0; i < 2; ++i)
    if (timesformer_run(context, batch, inputs, outputs, streams[i])) stop("run");
  if (synchronize(streams[0]) || synchronize(streams[1]) || download(output, outputs[0], output_bytes)) stop("wait");
  if (memcmp(output, expected, output_bytes) != 0) stop("a stream: other numbers");

  float* times = calloc((size_t)timesformer_launch_count(), sizeof *times);
  if (timesformer_profile(context, batch, inputs, outputs, streams[0], times)) stop("profile");
  for (int i = 0; i < timesformer_launch_count(); ++i) {
    if (!(times[i] >= 0)) stop("profile: a time is missing");
    printf("launch %s\n", timesformer_launch_name(i));
  }
  release(inputs[0]);
  release(outputs[0]);
  free(times);
  free(output);
}

static void describe(const char* what, const timesformer_port* port, size_t bytes, const int64_t* extents) {
  printf("%s %s %s", what, port->name, port->type);
  for (int axis = 0; axis < port->rank; ++axis) printf(" %lld", (long long)extents[axis]);
  printf(" = %zu bytes\n", bytes);
}

static void expect_failure(int failed, const char* said) {
  if (!failed || strstr(timesformer_error(), said) == NULL) stop("an error that does not say why");
}

int main(int count, char** values) {
  atexit(linger);  // before the device is loaded: runs after its own ends
  if (count != 7) return 2;
  driver_path = values[1];
  weights_path = values[2];
  other_path = values[3];
  batch = atoi(values[6]);

  int64_t extents[TIMESFORMER_MAX_RANK];
  input_bytes = timesformer_input_shape(0, batch, extents);
  describe("input", timesformer_input(0), input_bytes, extents);
  const int64_t* shapes[] = {extents};
  int found = 0;
  if (timesformer_match(shapes, &found) || found != batch) stop("the batch of these shapes");
  extents[3] += 1;
  expect_failure(timesformer_match(shapes, &found), "9, 12]: outside of what \"timesformer\" was built for");
  output_bytes = timesformer_output_shape(0, batch, extents);
  describe("output", timesformer_output(0), output_bytes, extents);
  input = malloc(input_bytes);
  expected = malloc(output_bytes);
  FILE* file = fopen(values[4], "rb");
  if (file == NULL || fread(input, 1, input_bytes, file) != input_bytes) return 2;
  fclose(file);

  expect_failure(timesformer_create("/no/such/driver.so", 0) == NULL, "/no/such/driver.so");
  expect_failure(timesformer_create(driver_path, 99) == NULL, "there is no device 99");
  timesformer_context* context = timesformer_create(driver_path, 0);
  if (context == NULL) stop("create");
  const void* inputs[] = {input};
  void* outputs[] = {expected};
  expect_failure(timesformer_run_host(context, batch, inputs, outputs), "weights are missing");
  expect_failure(timesformer_load_weights(context, values[4]), "no prepared weights of fovea");
  expect_failure(timesformer_load_weights(context, "/no/such/file"), "cannot open \"/no/such/file\"");
  if (timesformer_load_weights(context, weights_path)) stop("weights");
  expect_failure(timesformer_run_host(context, TIMESFORMER_MAX_BATCH + 1, inputs, outputs), "was built for batch 1..32; the nearest is 32");
  if (timesformer_run_host(context, batch, inputs, outputs)) stop("run");

  // A smaller batch in the same memory, and back.
  void* smaller[] = {malloc(output_bytes)};
  if (timesformer_run_host(context, 1, inputs, smaller)) stop("a smaller batch");
  if (memcmp(smaller[0], expected, timesformer_output_shape(0, 1, NULL)) != 0) stop("a smaller batch: other numbers");
  free(smaller[0]);
  run_and_compare(context, "again");
  in_threads(with_shared_context, context);
  in_threads(with_own_context, NULL);
  on_a_stream(context);
  swap_weights(context);
  timesformer_destroy(context);
  timesformer_destroy(NULL);

  file = fopen(values[5], "wb");
  if (file == NULL || fwrite(expected, 1, output_bytes, file) != output_bytes || fclose(file) != 0) return 2;
  free(input);
  free(expected);
  return 0;
}
