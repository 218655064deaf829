#pragma once

/** Lanes that share an item's points: a power of two. */
template <int POINTS> constexpr int LANES_FOR = POINTS > 16 ? 32 : POINTS > 8 ? 16 : POINTS > 4 ? 8 : POINTS > 2 ? 4 : POINTS;
