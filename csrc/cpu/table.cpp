// The table of one instruction set's kernels.

#include "cpu/kernels.h"

#define LATENTPATH_TEXT_(x) #x
#define LATENTPATH_TEXT(x) LATENTPATH_TEXT_(x)

namespace latentpath {
namespace LATENTPATH_ISA {

void kl_uniform(const KlUniformArgs&);
void bank_lse(const BankLseArgs&);
void path_step(const PathStepArgs&);
void path_smooth(const PathSmoothArgs&);
void row_distances(const RowDistancesArgs&);
void modulated_act(const ModulatedActArgs&);
void modulated_act_backward(const ModulatedActBackwardArgs&);
void fir2d(const Fir2dArgs&);
void conv3x3(const Conv3x3Args&);
void exponential_array(const float* x, float* y, int64_t count);

extern const Kernels kTable = {LATENTPATH_TEXT(LATENTPATH_ISA),
                               kl_uniform,
                               bank_lse,
                               path_step,
                               path_smooth,
                               row_distances,
                               modulated_act,
                               modulated_act_backward,
                               fir2d,
                               conv3x3,
                               exponential_array};

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
