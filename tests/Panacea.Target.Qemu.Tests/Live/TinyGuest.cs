namespace Panacea.Target.Qemu.Tests.Live;

/// <summary>Guests of our own: 512 bytes that run from 0x7c00 as a boot sector does. <see cref="Firmware"/> puts them there itself, at once: a BIOS
/// takes seconds under some KVMs.</summary>
internal static class TinyGuest
{
    /// <summary>Real mode, one loop on the boot vCPU.</summary>
    internal static class Real
    {
        /// <summary>The NOP after the increment.</summary>
        public const ulong Point = 0x7c09;

        /// <summary>Guest-physical address of the 16-bit counter.</summary>
        public const ulong Counter = 0x8000;

        // 7c00: cli; xor ax,ax; mov ds,ax; 7c05: inc word [8000]; 7c09: nop; 7c0a: jmp 7c05
        public static byte[] Image() => Sector("fa31c08ed8ff06008090ebf9");
    }

    /// <summary>
    /// 64-bit long mode, four-level paging, every vCPU in one loop with a counter of its own.
    /// The boot vCPU copies the code to 0x8000, maps [0, 2 MiB) and the local APIC with 2 MiB pages (tables at 0x10000), enters long mode,
    /// wakes the others by INIT and SIPI, and all of them run from 0x8000.
    /// </summary>
    internal static class Long
    {
        /// <summary>Start of the loop: <c>inc qword [0x30000 + 8 * vcpu]</c>.</summary>
        public const ulong Loop = 0x8080;

        /// <summary>The NOP after the increment.</summary>
        public const ulong Point = 0x8088;

        /// <summary>A function: <c>lea rax, [rdi + rsi]; ret</c>.</summary>
        public const ulong Add = 0x808b;

        /// <summary>A function that never returns: <c>jmp $</c>.</summary>
        public const ulong Spin = 0x8090;

        /// <summary>Guest-physical address of vCPU 0's 64-bit counter; the others follow.</summary>
        public const ulong Counters = 0x30000;

        // 7c00: cli; ds = es = ss = 0; sp = 7000; cld; copy [7c5f, +b7) to 8000; es = 1000; clear [10000, 14000);
        //       PML4[0] = 11003; PDPT[0] = 12003; PDPT[3] = 13003; PD0[0] = 83; PD3[1f7] = fee00093; jmp 0:8000
        // 8000: cli; ds = 0; lgdt; cr4 |= PAE; cr3 = 10000; EFER |= LME; cr0 |= PG | PE; ljmp 8:8042
        // 8042: ds = es = ss = 10; ebx = APIC id; esp = 21000 + 1000 * id; boot vCPU: INIT, wait, SIPI 8 to all others
        // 8080: inc qword [30000 + 8 * rbx]; 8088: nop; jmp 8080; 808b: lea rax,[rdi+rsi]; ret; 8090: jmp 8090; GDT
        public static byte[] Image() => Sector(
            "fa31c08ed88ec08ed0bc0070fcbe5f7cbf0080b9b700f3a4b800108ec031ff6631c0b9001066f3ab2666c706000003100100"
            + "2666c7060010032001002666c7061810033001002666c7060020830000002666c706b83f9300e0fe"
            + "ea00800000"
            + "fa31c08ed8660f0116b1800f20e06683c8200f22e066b8000001000f22d866b9800000c00f32660d000100000f300f20c0660d010000800f22c0"
            + "66ea428000000800"
            + "b8100000008ed88ec08ed0b82000e0fe8b18c1eb1889dcc1e40c81c40010020085db751aba0003e0fec70200450c00b900100000ffc975fcc70208460c00"
            + "48ff04dd0000030090ebf5488d0437c3ebfe0f1f8000000000"
            + "0000000000000000" + "00000000009a2000" + "0000000000920000" + "170099800000");
    }

    /// <summary>A 64 KiB firmware that copies a sector to 0x7c00 and jumps there.</summary>
    public static byte[] Firmware(byte[] sector)
    {
        byte[] rom = new byte[64 << 10];
        sector.CopyTo(rom, 0);

        // f000:1000: cli; ds = f000; es = 0; si = 0; di = 7c00; cx = 200; cld; rep movsb; jmp 0:7c00
        Convert.FromHexString("fab800f08ed831c08ec031f6bf007cb90002fcf3a4ea007c0000").CopyTo(rom, 0x1000);

        // The reset vector, fff0: jmp f000:1000
        Convert.FromHexString("ea001000f0").CopyTo(rom, 0xfff0);
        return rom;
    }

    private static byte[] Sector(string hex)
    {
        byte[] sector = new byte[512];
        Convert.FromHexString(hex).CopyTo(sector, 0);
        sector[510] = 0x55;
        sector[511] = 0xaa;
        return sector;
    }
}
