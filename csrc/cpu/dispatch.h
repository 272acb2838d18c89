// Choice of the CPU kernels at run time.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace latentpath {

// The instruction sets that were compiled in and that this processor has, best first.
std::vector<std::string> available_isas();

// The kernels in use: the best available ones, until another set is chosen.
const Kernels& kernels();

// Use another available set (for tests and measurements). False where there is no such set.
bool choose_isa(const std::string& isa);

}  // namespace latentpath
