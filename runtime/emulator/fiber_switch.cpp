// The context switch: callee-saved registers only, no system call. Ends with `ret`, which keeps the return predictor
// right.
#include "scheduler.h"

#if defined(__x86_64__) && !defined(FOVEA_EMU_UCONTEXT)
asm(R"(
.text
.globl fovea_fiber_switch
.hidden fovea_fiber_switch
.type fovea_fiber_switch,@function
fovea_fiber_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fovea_fiber_switch,.-fovea_fiber_switch
)");

namespace emu {
void* first_frame(uint8_t* top, void (*entry)()) {
  void** sp = (void**)((uintptr_t)top & ~(uintptr_t)63);
  *--sp = nullptr;       // keeps the stack 16-byte aligned at entry, as after a call
  *--sp = (void*)entry;  // where `ret` goes
  for (int i = 0; i < 6; i++) *--sp = nullptr;
  return sp;
}
}  // namespace emu

#elif defined(__aarch64__) && !defined(FOVEA_EMU_UCONTEXT)
asm(R"(
.text
.globl fovea_fiber_switch
.hidden fovea_fiber_switch
fovea_fiber_switch:
  stp x29,x30,[sp,#-160]!
  stp x19,x20,[sp,#16]
  stp x21,x22,[sp,#32]
  stp x23,x24,[sp,#48]
  stp x25,x26,[sp,#64]
  stp x27,x28,[sp,#80]
  stp d8,d9,[sp,#96]
  stp d10,d11,[sp,#112]
  stp d12,d13,[sp,#128]
  stp d14,d15,[sp,#144]
  mov x9,sp
  str x9,[x0]
  mov sp,x1
  ldp d14,d15,[sp,#144]
  ldp d12,d13,[sp,#128]
  ldp d10,d11,[sp,#112]
  ldp d8,d9,[sp,#96]
  ldp x27,x28,[sp,#80]
  ldp x25,x26,[sp,#64]
  ldp x23,x24,[sp,#48]
  ldp x21,x22,[sp,#32]
  ldp x19,x20,[sp,#16]
  ldp x29,x30,[sp],#160
  ret
)");

namespace emu {
void* first_frame(uint8_t* top, void (*entry)()) {
  void** sp = (void**)((uintptr_t)top & ~(uintptr_t)63) - 20;
  memset(sp, 0, 160);
  sp[1] = (void*)entry;  // x30, the link register
  return sp;
}
}  // namespace emu

#else
// Any other machine: ucontext. Slower by an order of magnitude, since it saves the signal mask.
#include <ucontext.h>

namespace emu {
void* first_frame(uint8_t* top, void (*entry)()) {
  auto* context = (ucontext_t*)(((uintptr_t)top - sizeof(ucontext_t)) & ~(uintptr_t)63);
  getcontext(context);
  context->uc_stack.ss_sp = top - stack_bytes / 2;  // tops are staggered: leave room below them
  context->uc_stack.ss_size = (size_t)((uint8_t*)context - (uint8_t*)context->uc_stack.ss_sp);
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}
}  // namespace emu
extern "C" void fovea_fiber_switch(void** save, void* to) {
  ucontext_t own;
  *save = &own;
  swapcontext(&own, (ucontext_t*)to);
}
#endif
