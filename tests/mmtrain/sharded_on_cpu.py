"""Run mmtrain sharded over CPU processes.

accelerate shards only over accelerators, so the processes are declared to be on GPUs. Gloo computes
a sum where FSDP expects a mean (pytorch issue 162338), so FSDP divides the gradients itself.
"""

import runpy
import sys

from accelerate import state
from accelerate.utils import DistributedType
from torch.distributed.fsdp._fully_shard import _fsdp_collectives as collectives

initialize = state.PartialState.__init__


def initialize_as_gpu(self, *arguments, **settings):
    initialize(self, *arguments, **settings)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


state.PartialState.__init__ = initialize_as_gpu
factors = collectives._get_gradient_divide_factors
collectives._get_gradient_divide_factors = lambda *arguments: factors(*arguments[:5], True)
sys.argv[0] = "mmtrain"
runpy.run_module("mmtrain", run_name="__main__")
