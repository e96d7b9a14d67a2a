"""One file, one node, one core object."""

import os

# before numpy loads its libraries: more threads than one make the small solves of a node ten times slower
for _variable in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMBA_NUM_THREADS'):
    os.environ.setdefault(_variable, '1')
