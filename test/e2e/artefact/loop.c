// Runs the halving of two numbers from C, and prints what comes out.
//   host DRIVER WEIGHTS NUMBER NUMBER
#include <stdio.h>
#include <stdlib.h>

#include "halving.h"

int main(int count, char** arguments) {
  if (count != 5) return 2;
  halving_context* context = halving_create(arguments[1], 0);
  const float x[2] = {strtof(arguments[3], NULL), strtof(arguments[4], NULL)};
  float sum, sums[4];
  int32_t steps;
  int taken = 0;
  if (context == NULL || halving_load_weights(context, arguments[2]) ||
      halving_run_host(context, 1, (const void*[]){x}, (void*[]){&sum, &steps, sums})) {
    fprintf(stderr, "%s\n", halving_error());
    return 1;
  }
  printf("sum %g steps %d sums", sum, steps);
  for (int i = 0; i < steps; ++i) printf(" %g", sums[i]);
  int end = halving_loop(context, &taken);
  printf(" taken %d end %d\n", taken, end);
  halving_destroy(context);
  return 0;
}
