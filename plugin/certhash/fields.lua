-- Declares the fields and the expert information of the plugin.

local M = {}

--- Add the fields and the expert information to the protocol.
-- @return the fields by name, the expert information by name
function M.declare(protocol)
    local show = {
        certificate = ProtoField.string("certhash.certificate", "Certificate"),
        sha1 = ProtoField.string("certhash.sha1", "SHA-1, Base64 (certHash)"),
        thumbprint = ProtoField.bytes("certhash.thumbprint", "Thumbprint (SHA-1)"),
        sha256 = ProtoField.string("certhash.sha256", "SHA-256, Base64"),
        position = ProtoField.uint32("certhash.position", "Position in the chain"),
        whole = ProtoField.bytes("certhash.certificate_bytes", "Certificate bytes"),
        match = ProtoField.bool("certhash.match", "Listed in a cnf file"),
        device = ProtoField.string("certhash.device", "Device"),
        cnf = ProtoField.string("certhash.cnf", "cnf file"),
        url = ProtoField.string("certhash.url", "URL"),
        verdict = ProtoField.string("certhash.verdict", "Verdict"),
        story = ProtoField.string("certhash.story", "Explanation"),
        certificate_in = ProtoField.framenum("certhash.certificate_in", "Rejected certificate in", base.NONE,
            frametype.REQUEST),
        rejected_in = ProtoField.framenum("certhash.rejected_in", "Rejected in", base.NONE, frametype.RESPONSE),
        cnf_downloaded = ProtoField.string("certhash.cnf_downloaded", "cnf file downloaded"),
        cnf_content = ProtoField.bytes("certhash.cnf_content", "File content"),
        cnf_client = ProtoField.string("certhash.cnf_client", "Downloaded by"),
        cnf_server = ProtoField.string("certhash.cnf_server", "Served by"),
        cnf_problem = ProtoField.string("certhash.cnf_problem", "Problem"),
        cnf_failed = ProtoField.string("certhash.cnf_failed", "cnf file not downloaded"),
    }
    local warn = {
        mismatch = ProtoExpert.new("certhash.expert.mismatch",
            "The certificate does not match what phones expect",
            expert.group.SECURITY, expert.severity.WARN),
        rejected = ProtoExpert.new("certhash.expert.rejected", "The certificate was rejected",
            expert.group.SECURITY, expert.severity.ERROR),
        match = ProtoExpert.new("certhash.expert.match", "The certificate matches what phones expect",
            expert.group.SECURITY, expert.severity.CHAT),
        host_id = ProtoExpert.new("certhash.expert.host_id",
            "The hash matches, but the certificate does not name the URL's host and the phone's host-ID check is on",
            expert.group.SECURITY, expert.severity.WARN),
        stale = ProtoExpert.new("certhash.expert.stale", "The copy in the cnf folder differs from the downloaded file",
            expert.group.SECURITY, expert.severity.WARN),
        unusable = ProtoExpert.new("certhash.expert.unusable", "The cnf file, or a part of it, cannot be used",
            expert.group.SECURITY, expert.severity.NOTE),
        failed = ProtoExpert.new("certhash.expert.failed", "A phone does not get its cnf file",
            expert.group.SECURITY, expert.severity.NOTE),
    }
    local fields, experts = {}, {}
    for _, field in pairs(show) do
        fields[#fields + 1] = field
    end
    for _, field in pairs(warn) do
        experts[#experts + 1] = field
    end
    protocol.fields, protocol.experts = fields, experts
    return show, warn
end

return M
