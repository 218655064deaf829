// Weights that were damaged, cut or made longer are refused, or are what was prepared.
//   fuzz DRIVER WEIGHTS TIMES
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clips.h"

static uint64_t state = 88172645463325252u;
static uint64_t draw(uint64_t below) {  // xorshift64
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state % below;
}

int main(int count, char** values) {
  if (count != 4) return 2;
  FILE* file = fopen(values[2], "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) return 3;
  const size_t bytes = (size_t)ftell(file);
  rewind(file);
  unsigned char* whole = malloc(bytes);
  if (fread(whole, 1, bytes, file) != bytes) return 3;
  fclose(file);
  clips_context* context = clips_create(values[1], 0);
  if (context == NULL || clips_set_weights(context, whole, bytes)) return fprintf(stderr, "%s\n", clips_error()), 1;
  const int64_t times = atoll(values[3]);
  int64_t refused = 0;
  for (int64_t i = 0; i < times; ++i) {
    size_t length = bytes;
    if (draw(3) == 0) length = draw(bytes);
    else if (draw(6) == 0) length += draw(99);
    // Of its own size, so that whatever is read behind it is found.
    unsigned char* hurt = malloc(length + (length == 0));
    for (size_t at = 0; at < length; ++at) hurt[at] = at < bytes ? whole[at] : (unsigned char)draw(256);
    // The header as often as the data.
    for (uint64_t change = draw(4); change > 0 && length > 0; --change) {
      const size_t at = draw(2) == 0 ? draw(length) : draw(length < 64 ? length : 64);
      hurt[at] = (unsigned char)draw(256);
    }
    const int failed = clips_set_weights(context, hurt, length);
    const int same = length == bytes && memcmp(hurt, whole, bytes) == 0;
    if (failed == same || (failed && clips_error()[0] == 0)) return fprintf(stderr, "change %lld\n", (long long)i), 1;
    refused += failed;
    free(hurt);
  }
  if (clips_set_weights(context, whole, bytes)) return 4;
  clips_destroy(context);
  free(whole);
  printf("%lld of %lld refused\n", (long long)refused, (long long)times);
  return 0;
}
