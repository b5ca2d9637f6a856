using System.Buffers.Binary;
using System.Text;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>One record of the kernel log.</summary>
/// <param name="Sequence">Sequence number.</param>
/// <param name="TimestampNs">Nanoseconds since boot.</param>
/// <param name="Facility">syslog facility.</param>
/// <param name="Level">syslog level, 0 to 7.</param>
/// <param name="Text">The message; bytes that are not UTF-8 become U+FFFD.</param>
public sealed record PrintkRecord(ulong Sequence, ulong TimestampNs, int Facility, int Level, string Text);

/// <summary>The printk ring buffer (kernel/printk/printk_ringbuffer.[ch], since 5.10): descriptors, infos, and a ring of text blocks.</summary>
public static class Printk
{
    /// <summary>Descriptor states, the top two bits of prb_desc.state_var.</summary>
    private const ulong Committed = 1, Finalized = 2;

    /// <summary>The newest <paramref name="last"/> records, oldest of them first. Records that are being written, or that the ring has overtaken, are left out.</summary>
    /// <exception cref="GuestMemoryException">The ring itself can't be read.</exception>
    /// <exception cref="KernelShapeException">The ring is not of the known shape.</exception>
    public static List<PrintkRecord> Tail(LinuxKernel kernel, int last, TargetLimits limits)
    {
        ulong prb = kernel.ReadSymbolU64("prb");
        ulong ring = unchecked(prb + kernel.Offset("printk_ringbuffer.desc_ring"));
        ulong text = unchecked(prb + kernel.Offset("printk_ringbuffer.text_data_ring"));
        uint countBits = kernel.ReadU32(ring, "prb_desc_ring.count_bits"), sizeBits = kernel.ReadU32(text, "prb_data_ring.size_bits");
        if (countBits is < 1 or > 28 || sizeBits is < 4 or > 31 || 1L << (int)sizeBits > limits.MaxPrintkBytes)
            throw new KernelShapeException($"the printk ring says it has 2^{countBits} descriptors and 2^{sizeBits} bytes");
        ulong count = 1UL << (int)countBits, size = 1UL << (int)sizeBits;
        ulong descs = kernel.Read(ring, "prb_desc_ring.descs"), infos = kernel.Read(ring, "prb_desc_ring.infos");
        ulong data = kernel.Read(text, "prb_data_ring.data");
        ulong head = kernel.Read(ring, "prb_desc_ring.head_id"), tail = kernel.Read(ring, "prb_desc_ring.tail_id");
        ulong descSize = (ulong)kernel.Image.Types.SizeOf("prb_desc"), infoSize = (ulong)kernel.Image.Types.SizeOf("printk_info");
        if (unchecked(count * (descSize + infoSize)) > (ulong)limits.MaxPrintkBytes)
            throw new KernelShapeException($"the printk ring's 2^{countBits} descriptors are beyond the limit");
        const ulong idMask = ~0UL >> 2;
        ulong available = Math.Min(unchecked(head - tail) & idMask, count - 1) + 1;
        ulong wanted = Math.Min(available, (ulong)Math.Max(0, last));

        var records = new List<PrintkRecord>((int)Math.Min(wanted, 1024));
        for (ulong back = wanted; back > 0; back--)
        {
            ulong id = unchecked(head - (back - 1)) & idMask;
            ulong desc = unchecked(descs + ((id & (count - 1)) * descSize)), info = unchecked(infos + ((id & (count - 1)) * infoSize));
            ulong state = kernel.Read(desc, "prb_desc.state_var.counter");

            // A descriptor that carries another id was recycled between two reads; one that is reserved or reusable holds no record.
            if ((state & idMask) != id || state >> 62 is not (Committed or Finalized))
                continue;
            if (TryReadRecord(kernel, desc, info, id, data, size, out PrintkRecord? record))
                records.Add(record!);
        }

        return records;
    }

    private static bool TryReadRecord(LinuxKernel kernel, ulong desc, ulong info, ulong id, ulong data, ulong size, out PrintkRecord? record)
    {
        record = null;
        ulong begin = kernel.Read(desc, "prb_desc.text_blk_lpos.begin"), next = kernel.Read(desc, "prb_desc.text_blk_lpos.next");
        uint length = kernel.ReadU32(info, "printk_info.text_len");
        ulong sequence = kernel.Read(info, "printk_info.seq"), time = kernel.Read(info, "printk_info.ts_nsec");
        int facility = unchecked((byte)kernel.Read(info, "printk_info.facility")), level = unchecked((byte)kernel.Read(info, "printk_info.level"));

        // Bit 0 marks a block without data: an empty line, or text that the ring has dropped.
        if ((begin & 1) != 0)
        {
            record = new PrintkRecord(sequence, time, facility, level, "");
            return true;
        }

        // A block never wraps: one that would lies whole at the start of the ring (data_alloc, get_data). It starts with its descriptor's id.
        ulong start = begin & (size - 1);
        ulong room = unchecked(next - begin);
        if ((begin & ~(size - 1)) != (unchecked(next - 1) & ~(size - 1)))
        {
            start = 0;
            room = next & (size - 1);
        }

        if (room < 8 || room > size || length > room - 8 || start + 8 + length > size)
            return false;
        byte[] raw = new byte[8 + (int)length];
        kernel.Space.Read(new VirtualAddress(unchecked(data + start)), raw, "printk text");
        if (BinaryPrimitives.ReadUInt64LittleEndian(raw) != id)
            return false;
        record = new PrintkRecord(sequence, time, facility, level, Encoding.UTF8.GetString(raw.AsSpan(8)));
        return true;
    }
}
