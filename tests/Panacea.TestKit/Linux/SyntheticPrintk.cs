using System.Text;

namespace Panacea.TestKit.Linux;

public sealed partial class SyntheticKernel
{
    private const ulong IdMask = ~0UL >> 2;
    private ulong _logId, _logHead, _logSequence;

    /// <summary>Bits of the printk ring's sizes: descriptors, text bytes.</summary>
    public static (int Descriptors, int Text) PrintkBits => (3, 8);

    /// <summary>Address of the descriptor of a record.</summary>
    public ulong Descriptor(ulong id) => this["printk_descs"] + ((id & ((1UL << PrintkBits.Descriptors) - 1)) * (ulong)Types.SizeOf("prb_desc"));

    /// <summary>Address of the information of a record.</summary>
    public ulong Info(ulong id) => this["printk_infos"] + ((id & ((1UL << PrintkBits.Descriptors) - 1)) * (ulong)Types.SizeOf("printk_info"));

    /// <summary>Writes a record into the printk ring, as prb_reserve and prb_commit do (kernel/printk/printk_ringbuffer.c).</summary>
    /// <param name="text">The text.</param>
    /// <param name="nanoseconds">Its time.</param>
    /// <param name="level">syslog level.</param>
    /// <param name="state">Top two bits of the descriptor's state: 0 reserved, 1 committed, 2 finalized, 3 reusable.</param>
    /// <returns>The record's id.</returns>
    public ulong Log(string text, ulong nanoseconds = 0, int level = 6, ulong state = 2)
    {
        ulong id = _logId++ & IdMask, size = 1UL << PrintkBits.Text;
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        ulong begin = 1, next = 1;
        if (bytes.Length > 0)
        {
            ulong block = (ulong)(8 + bytes.Length + 7) & ~7UL;
            begin = _logHead;
            next = begin + block;
            ulong at = begin % size;

            // A block that would wrap lies whole at the start of the ring (data_alloc).
            if (begin / size != next / size)
            {
                next = (next / size * size) + block;
                at = 0;
            }

            _logHead = next;
            WriteU64(this["printk_text"] + at, id);
            Write(this["printk_text"] + at + 8, bytes);
        }

        ulong desc = Descriptor(id), info = Info(id);
        Put(desc, "prb_desc.text_blk_lpos.begin", begin);
        Put(desc, "prb_desc.text_blk_lpos.next", next);
        Put(desc, "prb_desc.state_var.counter", id | state << 62);
        Put(info, "printk_info.seq", _logSequence++);
        Put(info, "printk_info.ts_nsec", nanoseconds);
        Put(info, "printk_info.text_len", (ulong)bytes.Length);
        Put(info, "printk_info.level", (ulong)level);
        ulong ring = this["printk_ring"];
        Put(ring, "printk_ringbuffer.desc_ring.head_id.counter", id);
        ulong count = 1UL << PrintkBits.Descriptors;
        if (_logSequence > count)
            Put(ring, "printk_ringbuffer.desc_ring.tail_id.counter", unchecked(id - (count - 1)) & IdMask);
        return id;
    }

    private void MakePrintk()
    {
        ulong ring = Data("printk_ring", Types.SizeOf("printk_ringbuffer"));
        WriteU64(Data("prb", 8), ring);
        ulong descs = Data("printk_descs", Types.SizeOf("prb_desc") << PrintkBits.Descriptors), infos = Data("printk_infos", Types.SizeOf("printk_info") << PrintkBits.Descriptors);
        Put(ring, "printk_ringbuffer.desc_ring.count_bits", (ulong)PrintkBits.Descriptors);
        Put(ring, "printk_ringbuffer.desc_ring.descs", descs);
        Put(ring, "printk_ringbuffer.desc_ring.infos", infos);
        Put(ring, "printk_ringbuffer.text_data_ring.size_bits", (ulong)PrintkBits.Text);
        Put(ring, "printk_ringbuffer.text_data_ring.data", Data("printk_text", 1 << PrintkBits.Text));

        // Numbering starts just before it wraps, so that every reader meets the wrap (BLK0_LPOS, DESC0_ID).
        ulong count = 1UL << PrintkBits.Descriptors;
        _logId = unchecked(0 - count - 1) & IdMask;
        _logHead = 0;
        Put(ring, "printk_ringbuffer.desc_ring.head_id.counter", _logId);
        Put(ring, "printk_ringbuffer.desc_ring.tail_id.counter", (_logId + 1) & IdMask);
        Put(Descriptor(_logId), "prb_desc.state_var.counter", _logId | 3UL << 62);
        _logId = (_logId + 1) & IdMask;
        for (int i = 0; i < 3; i++)
            Log($"booted, line {i}", (ulong)i * 1_000_000_000);
    }
}
