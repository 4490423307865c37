-- Caches the details of the certificates seen, by their bytes.
--
-- Most certificates recur, and Wireshark dissects a frame each time it is displayed.  The details (digests, their Base64,
-- subject) are computed when they are first needed, and kept.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local address, base64, sha1, sha256 = others.address, others.base64, others.sha1, others.sha256
local visible, x509 = others.visible, others.x509

local MOST_CERTIFICATES = 4096

local derive = {
    thumbprint = function(known) return sha1.digest(known.der) end,
    thumbprint256 = function(known) return sha256.digest(known.der) end,
    sha1 = function(known) return base64.encode(known.thumbprint) end,
    sha256 = function(known) return base64.encode(known.thumbprint256) end,
    subject = function(known)
        local subject = x509.subject(known.der)
        return subject and visible.text(subject, 200) or "no X.509 certificate"
    end,
    names = function(known) return known.der and x509.names(known.der, address.text) end,
}
local Known = {
    __index = function(known, name)
        local make = derive[name]
        local value = make and make(known)
        rawset(known, name, value)
        return value
    end,
}

local certificates, kept = {}, 0

--- Return the details of a certificate: a table with der, sha1 and sha256 (Base64), thumbprint and thumbprint256 (bytes),
-- subject, and names (for the host-ID check; nil if the certificate cannot be read).
---@param der string
---@return table
function M.know(der)
    local known = certificates[der]
    if not known then
        if kept >= MOST_CERTIFICATES then
            -- A large capture of different certificates must not exhaust memory.  Handshakes keep their own.
            for _, other in pairs(certificates) do
                for name in pairs(derive) do
                    other[name] = other[name]
                end
                other.der = nil
            end
            certificates, kept = {}, 0
        end
        known = setmetatable({ der = der }, Known)
        certificates[der], kept = known, kept + 1
    end
    return known
end

return M
