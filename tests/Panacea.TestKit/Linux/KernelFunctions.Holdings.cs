using static Iced.Intel.AssemblerRegisters;

namespace Panacea.TestKit.Linux;

/// <summary>Functions that give back what their callers have taken, and one whose caller takes its result for an index.</summary>
internal static partial class KernelFunctions
{
    private static void Holders(SyntheticText text)
    {
        text.Add("ct_indexes", w => w.Frame(() => { w.Call("ct_index"); w.A.movsxd(rdx, eax); w.A.mov(rcx, __qword_ptr[rdx * 8 + 0x1000]); }));
        text.Add("ct_holder", w => w.Frame(() =>
        {
            w.A.mov(rdi, rbx);
            w.Call("_raw_spin_lock");
            w.Call("ct_gives");
            w.A.mov(rdi, rbx);
            w.Call("_raw_spin_lock");
            w.Call("ct_owes");
            w.A.mov(rdi, rbx);
            w.Call("_raw_spin_unlock");
        }));
        text.Add("_raw_spin_unlock_irq", w => { w.Depth(8); w.A.mov(__byte_ptr[rdi], 0); w.A.sti(); w.At("fault"); w.A.nop(); w.A.ret(); });
        text.Add("smp_call_function_ct", w => w.Frame(() => w.A.nop()));
        text.Add("ct_handed", w => w.Frame(() => { w.Call("ct_takes"); w.At("back:ct_read"); w.A.nop(); }));
        text.Add("ct_takes", w => { w.Depth(8); w.A.push(rbx); w.Depth(16); w.A.mov(rdi, rbx); w.Call("_raw_spin_lock"); w.A.pop(rbx); w.Depth(8); w.Jump("ct_read"); });
        text.Add("ct_leaves", w => w.Frame(() => { w.A.mov(rdi, rbx); w.Call("_raw_spin_lock_irq"); w.A.mov(rdi, rbx); w.Call("_raw_spin_unlock_irq"); w.A.nop(); }));
        text.Add("ct_gives", w => w.Frame(() => { w.A.mov(rdi, rbx); w.Call("_raw_spin_unlock"); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); }));
        text.Add("ct_owes", w => w.Frame(() =>
        {
            w.A.mov(rdi, rbx);
            w.Call("_raw_spin_unlock");
            w.At("fault");
            w.A.mov(__dword_ptr[rax], 1);
            w.A.mov(rdi, rbx);
            w.Call("_raw_spin_lock");
        }));
    }
}
