using Panacea.Target;
using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

/// <summary>A stopped guest over memory of ours that can fail at any step, and that knows what has changed since it stopped.</summary>
/// <param name="memory">Its memory.</param>
/// <param name="vcpus">Its vCPUs.</param>
public class ScriptedGuest(SparsePhysicalMemory memory, params VcpuRegisters[] vcpus) : IStoppedGuest
{
    private readonly VcpuRegisters[] _before = [.. vcpus];
    private readonly VcpuRegisters[] _now = [.. vcpus];
    private readonly SortedDictionary<ulong, byte> _bytesBefore = [];

    /// <summary>Called before each operation takes effect; may throw.</summary>
    public Action<string>? Before { get; set; }

    /// <summary>Called after each operation has taken effect; may throw.</summary>
    public Action<string>? After { get; set; }

    /// <summary>Writes to which guest-physical addresses are refused.</summary>
    public Func<ulong, bool> Refuses { get; set; } = _ => false;

    /// <summary>Bytes are not written as given, though the guest says so: from this write on, counted from 0.</summary>
    public int LosesWritesFrom { get; set; } = int.MaxValue;

    /// <summary>Writes so far.</summary>
    public int Writes { get; private set; }

    /// <inheritdoc/>
    public IGuestMemory Memory => memory;

    /// <inheritdoc/>
    public int VcpuCount => _now.Length;

    /// <inheritdoc/>
    public int StoppedVcpu { get; init; }

    /// <summary>What differs from the moment of the stop, one line each.</summary>
    public IReadOnlyList<string> Changes
    {
        get
        {
            var lines = new List<string>();
            Span<byte> one = stackalloc byte[1];
            foreach ((ulong address, byte value) in _bytesBefore)
            {
                memory.TryRead(new PhysicalAddress(address), one, out _);
                if (one[0] != value)
                    lines.Add($"phys:{address:x} {value:x2} -> {one[0]:x2}");
            }

            for (int i = 0; i < _now.Length; i++)
            {
                foreach (WritableRegister register in Enum.GetValues<WritableRegister>())
                {
                    if (ValueOf(_now[i], register) != ValueOf(_before[i], register))
                        lines.Add($"vcpu{i}.{register} {ValueOf(_before[i], register):x} -> {ValueOf(_now[i], register):x}");
                }
            }

            return lines;
        }
    }

    /// <inheritdoc/>
    public VcpuRegisters ReadRegisters(int vcpu)
    {
        Before?.Invoke("read-registers");
        VcpuRegisters registers = _now[vcpu];
        After?.Invoke("read-registers");
        return registers;
    }

    /// <inheritdoc/>
    public void WriteRegister(int vcpu, WritableRegister register, ulong value)
    {
        Before?.Invoke("write-register");
        Set(vcpu, register, value);
        After?.Invoke("write-register");
    }

    /// <inheritdoc/>
    public bool TryWrite(PhysicalAddress address, ReadOnlySpan<byte> bytes, out MemoryFault fault)
    {
        Before?.Invoke("write-memory");
        fault = default;
        if (Refuses(address.Value))
        {
            fault = new MemoryFault(MemoryFaultKind.NotBacked, address.Value, IsPhysical: true);
            return false;
        }

        Span<byte> one = stackalloc byte[1];
        for (int i = 0; i < bytes.Length; i++)
        {
            memory.TryRead(address.Plus((ulong)i), one, out _);
            _bytesBefore.TryAdd(address.Value + (ulong)i, one[0]);
        }

        if (Writes++ < LosesWritesFrom)
            memory.Write(address.Value, bytes);
        After?.Invoke("write-memory");
        return true;
    }

    /// <summary>Moves a vCPU as a single step over a 5-byte NOP or a PUSH would.</summary>
    protected void Step(int vcpu) => Set(vcpu, WritableRegister.Rip, _now[vcpu].Rip + 1);

    private void Set(int vcpu, WritableRegister register, ulong value)
    {
        GprFile gpr = _now[vcpu].Gpr;
        if (register < WritableRegister.Rip)
            gpr[(Gpr)(int)register] = value;
        _now[vcpu] = register switch
        {
            WritableRegister.Rip => _now[vcpu] with { Rip = value },
            WritableRegister.Rflags => _now[vcpu] with { Rflags = value },
            _ => _now[vcpu] with { Gpr = gpr },
        };
    }

    private static ulong ValueOf(VcpuRegisters registers, WritableRegister register) => register switch
    {
        WritableRegister.Rip => registers.Rip,
        WritableRegister.Rflags => registers.Rflags,
        _ => registers.Gpr[(Gpr)(int)register],
    };
}
