using static Iced.Intel.AssemblerRegisters;

namespace Panacea.TestKit.Linux;

/// <summary>Functions whose crashes are told by what lies around them: what they have stored, what would trap now, clocks.</summary>
internal static partial class KernelFunctions
{
    private static void AddReplayed(SyntheticText text)
    {
        text.Add("ct_readable", w => w.Frame(() => { w.At("fault"); w.A.mov(rcx, __qword_ptr[r12 + 8]); w.A.nop(); }));
        text.Add("ct_again_stored", w => w.Frame(() => { w.A.mov(rdi, r12); w.A.mov(__qword_ptr[r12 + 48], r13); w.A.@lock.inc(__dword_ptr[r12 + 56]); w.Call("ct_uses"); }));
        foreach (string name in (string[])["ct_again_spilled", "ct_again_shared"])
        {
            text.Add(name, w =>
            {
                w.Depth(8);
                w.A.sub(rsp, 8);
                w.Depth(16);
                w.Call("ct_cpuid");
                w.A.mov(__qword_ptr[rsp], rax);
                if (name == "ct_again_shared")
                    w.A.lea(rdx, __qword_ptr[rsp]);
                w.A.mov(rcx, rax);
                w.A.xor(eax, eax);
                w.At("fault");
                w.A.mov(edx, __dword_ptr[rcx + 8]);
                w.A.add(rsp, 8);
                w.Depth(8);
                w.A.ret();
            });
        }

        text.Add("ct_again_swapped", w => w.Frame(() =>
        {
            Iced.Intel.Label none = w.A.CreateLabel();
            w.A.mov(ecx, 5);
            w.A.xchg(__qword_ptr[r12 + 16], rcx);
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("fault");
            w.A.mov(edx, __dword_ptr[rax + 8]);
            w.A.test(rcx, rcx);
            w.A.je(none);
            w.A.inc(__dword_ptr[r12 + 56]);
            w.A.Label(ref none);
            w.A.nop();
        }));
        text.Add("ct_again_rounds", w => w.Frame(() =>
        {
            Iced.Intel.Label again = w.A.CreateLabel();
            w.A.mov(rcx, __qword_ptr[r12 + 24]);
            w.A.Label(ref again);
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("fault");
            w.A.mov(edx, __dword_ptr[rax + 8]);
            w.A.@in(al, dx);
            w.A.dec(rcx);
            w.A.jne(again);
        }));
        text.Add("ct_returns", w => { w.Depth(8); w.A.nop(); w.At("returns"); w.A.ret(); w.At("fault"); w.A.int3(); w.A.int3(); });
        text.Add("ct_masked", w => w.Frame(() =>
        {
            Iced.Intel.Label either = w.A.CreateLabel();
            w.A.cli();
            w.Call("ct_cpuid");
            w.A.test(eax, eax);
            w.A.je(either);
            w.A.nop();
            w.A.Label(ref either);
            w.A.mov(rcx, r12);
            w.At("fault");
            w.A.mov(edx, __dword_ptr[rcx + 8]);
            w.A.sti();
            w.A.nop();
        }));
        text.Add("ct_looped", w => w.Frame(() =>
        {
            Iced.Intel.Label again = w.A.CreateLabel(), found = w.A.CreateLabel();
            w.A.Label(ref again);
            w.A.lea(r14, __[rbx + 0x38]);
            w.A.mov(rdi, r14);
            w.Call("_raw_spin_lock");
            w.A.mov(ecx, __dword_ptr[rbx + 0x40]);
            w.A.test(ecx, ecx);
            w.A.je(found);
            w.A.mov(rdi, r14);
            w.Call("_raw_spin_unlock");
            w.A.mov(rbx, __qword_ptr[rbx]);
            w.A.jmp(again);
            w.A.Label(ref found);
            w.At("fault");
            w.A.mov(__dword_ptr[rax], 1);
        }));
        text.Add("ct_again_clock", w => w.Frame(() =>
        {
            Iced.Intel.Label early = w.A.CreateLabel();
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("fault");
            w.A.mov(ecx, __dword_ptr[rax + 8]);
            w.A.rdtsc();
            w.A.test(eax, eax);
            w.A.je(early);
            w.A.nop();
            w.A.Label(ref early);
        }));
    }
}
