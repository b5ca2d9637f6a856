using Panacea.Lab.Campaign;
using Panacea.Lab.Campaign.Runs;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Tests.Campaign;

public sealed class CampaignWorkloadTests
{
    [Fact]
    public void Each_has_a_name_of_its_own_and_is_found_by_it()
    {
        Assert.Equal(["idle", "redis", "records", "bank", "forks", "nginx", "fio", "stress", "network"], CampaignWorkload.All.Select(w => w.Name));
        Assert.All(CampaignWorkload.All, w => Assert.Same(w, CampaignWorkload.Find(w.Name)));
        Assert.Null(CampaignWorkload.Find("nothing"));
    }

    [Fact]
    public void Guests_know_how_to_start_what_they_are_told_to()
    {
        string[] files = typeof(GuestService).Assembly.GetManifestResourceNames();
        Assert.All(GuestService.All, s => Assert.Contains($"guest/start-{s.Name}", files));
        Assert.All(CampaignWorkload.All.SelectMany(w => w.Services), name => Assert.Equal(name, GuestService.Of(name).Name));
        LabException e = Assert.Throws<LabException>(() => GuestService.Of("apache"));
        Assert.Equal("guests have no service 'apache'; one of redis, counter, bank, accounts, nginx, fio, stress, echo", e.Message);
    }

    [Fact]
    public void What_fio_says_of_wrong_data_is_told_from_all_else()
    {
        const string said = """
            fio-3.33
            Starting 1 process
            verify: bad header rand_seed 2242885815232520053, wanted 1263931655850171392 at file /data/fio.1 offset 544768, length 4096 (requested block: offset=544768, length=4096)
            crc32c: verify failed at file /data/fio.1 offset 98304, length 4096 (requested block: offset=98304, length=4096, flags=88)
            fio: pid=432, err=84/file:io_u.c:2152, func=io_u_sync_complete, error=Invalid or incomplete multibyte or wide character
            """;
        Assert.Equal(
            [
                "fio: verify: bad header rand_seed 2242885815232520053, wanted 1263931655850171392 at file /data/fio.1 offset 544768, length 4096 (requested block: offset=544768, length=4096)",
                "fio: crc32c: verify failed at file /data/fio.1 offset 98304, length 4096 (requested block: offset=98304, length=4096, flags=88)",
            ], FioRun.Mismatches(said));
        Assert.Empty(FioRun.Mismatches("fio: pid=243, got signal=9\nfio: io_u error on file /data/fio.1: Input/output error: write offset=0, buflen=4096\n"));
    }
}
